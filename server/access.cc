// SPDX-License-Identifier: Apache-2.0
#include "server/access.h"

#include <fstream>
#include <sstream>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "engine/errors.h"
#include "grpc/grpc_security_constants.h"
#include "openssl/crypto.h"
#include "server/errors.h"
#include "spdlog/spdlog.h"

namespace lstmd::server {
namespace {

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  if (!file) return NotFound("FILE", absl::StrCat("cannot read ", path));
  return text.str();
}

absl::Status Unauthenticated(std::string_view message) {
  return Error(absl::StatusCode::kUnauthenticated, "TOKEN", message);
}

}  // namespace

absl::StatusOr<std::shared_ptr<const AccessControl>> AccessControl::Create(const AccessOptions& options) {
  if (options.auth_file.empty() && !options.quota_file.empty()) {
    return InvalidArgument("OPTIONS", "--quota-file bounds tenants, and there are none without --auth-file");
  }
  std::shared_ptr<AccessControl> access(new AccessControl(options));
  if (!access->enabled()) return access;
  std::vector<std::string> files = {options.auth_file};
  if (!options.quota_file.empty()) files.push_back(options.quota_file);
  access->watcher_ = std::make_unique<FileWatcher>(files, options.reload_interval, [access = access.get()] {
    const absl::Status status = access->Load();
    if (!status.ok()) {
      spdlog::error("what was read before stays in force: {}",
                    Printable({status.message().data(), status.message().size()}, 1024));
    }
  });
  // After the watcher has seen the files, so that no change is missed.
  if (absl::Status status = access->Load(); !status.ok()) return status;
  return access;
}

absl::Status AccessControl::Load() {
  absl::StatusOr<std::string> text = ReadFile(options_.auth_file);
  if (!text.ok()) return text.status();
  absl::StatusOr<std::vector<Credential>> credentials = ParseCredentials(*text);
  if (!credentials.ok()) return PrefixMessage(credentials.status(), options_.auth_file + ": ");
  QuotaTable quotas;
  if (!options_.quota_file.empty()) {
    text = ReadFile(options_.quota_file);
    if (!text.ok()) return text.status();
    absl::StatusOr<QuotaTable> parsed = ParseQuotas(*text);
    if (!parsed.ok()) return PrefixMessage(parsed.status(), options_.quota_file + ": ");
    quotas = *std::move(parsed);
  }

  auto next = std::make_shared<Table>();
  MutexLock lock(&mutex_);
  for (const Credential& credential : *credentials) {
    std::shared_ptr<Tenant>& tenant = tenants_[credential.tenant];
    if (tenant == nullptr) tenant = std::make_shared<Tenant>(credential.tenant, Quota());
    const bool is_token = credential.certificate.empty();
    // One that stays as it was stays the same object, so that calls on their way stay valid.
    std::shared_ptr<Identity> identity;
    if (table_ != nullptr && is_token) {
      if (const auto it = table_->tokens.find(credential.token); it != table_->tokens.end()) identity = it->second;
    } else if (table_ != nullptr) {
      const auto it = table_->certificates.find(credential.certificate);
      if (it != table_->certificates.end()) identity = it->second;
    }
    if (identity == nullptr || !(identity->credential == credential)) {
      identity = std::make_shared<Identity>();
      identity->credential = credential;
      identity->tenant = tenant;
    }
    if (is_token) {
      next->tokens.emplace(credential.token, std::move(identity));
    } else {
      next->certificates.emplace(credential.certificate, std::move(identity));
    }
  }
  const auto revoke = [](const auto& old_ones, const auto& new_ones) {
    for (const auto& [key, identity] : old_ones) {
      const auto it = new_ones.find(key);
      if (it == new_ones.end() || it->second != identity) identity->revoked.store(true, std::memory_order_relaxed);
    }
  };
  if (table_ != nullptr) {
    revoke(table_->tokens, next->tokens);
    revoke(table_->certificates, next->certificates);
  }
  for (const auto& [name, tenant] : tenants_) tenant->SetQuota(quotas.Of(name));
  quotas_ = std::move(quotas);
  table_ = std::move(next);
  spdlog::info("{} credentials of {} tenants, from {}", credentials->size(), tenants_.size(), options_.auth_file);
  return absl::OkStatus();
}

std::shared_ptr<const AccessControl::Table> AccessControl::table() const {
  MutexLock lock(&mutex_);
  return table_;
}

absl::StatusOr<std::shared_ptr<const Identity>> AccessControl::Find(const grpc::CallbackServerContext& call) const {
  const std::shared_ptr<const Table> known = table();
  const auto [begin, end] = call.client_metadata().equal_range("authorization");
  if (begin != end) {
    if (std::next(begin) != end) return Unauthenticated("got more than one authorization, want one");
    const absl::string_view value(begin->second.data(), begin->second.size());
    constexpr absl::string_view kScheme = "bearer ";
    if (!absl::StartsWithIgnoreCase(value, kScheme)) {
      return Unauthenticated("got an authorization of another form, want 'Bearer TOKEN'");
    }
    const absl::string_view token = value.substr(kScheme.size());
    // Found by its hash, so the time that the search takes says nothing about tokens: nobody can choose hashes.
    const auto it = known->tokens.find(HashOf({token.data(), token.size()}));
    if (it == known->tokens.end()) return Unauthenticated("the token is not known");
    return it->second;
  }
  const std::shared_ptr<const grpc::AuthContext> peer = call.auth_context();
  bool has_certificate = false;
  if (peer != nullptr && peer->IsPeerAuthenticated()) {
    for (const char* property : {GRPC_X509_CN_PROPERTY_NAME, GRPC_X509_SAN_PROPERTY_NAME}) {
      for (const grpc::string_ref& name : peer->FindPropertyValues(property)) {
        has_certificate = true;
        const auto it = known->certificates.find(absl::string_view(name.data(), name.size()));
        if (it != known->certificates.end()) return it->second;
      }
    }
  }
  if (has_certificate) return Unauthenticated("got a certificate whose names are not known, and no token");
  return Unauthenticated("got no token; send the metadata 'authorization: Bearer TOKEN'");
}

absl::StatusOr<Caller> AccessControl::Admit(const grpc::CallbackServerContext& call, std::string_view rpc,
                                            Right right) const {
  if (!enabled() || right == Right::kOpen) return Caller();
  absl::StatusOr<std::shared_ptr<const Identity>> identity = Find(call);
  if (!identity.ok()) {
    absl::Status error = identity.status();
    SetHold(strangers_.Next(0, absl::Now()), &error);
    return error;
  }
  Caller caller(*identity);
  if (absl::Status status = caller.CheckValid(); !status.ok()) return status;
  if (right == Right::kAdmin) {
    if (absl::Status status = caller.CheckAdmin(rpc); !status.ok()) return status;
  }
  if (absl::Status status = (*identity)->tenant->TakeRequest(); !status.ok()) return status;
  return caller;
}

OwnerQuota AccessControl::QuotaOf(std::string_view owner) const {
  MutexLock lock(&mutex_);
  const Quota& quota = quotas_.Of(owner);
  return {quota.sessions, quota.state_bytes};
}

}  // namespace lstmd::server
