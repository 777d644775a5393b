// SPDX-License-Identifier: Apache-2.0
#ifndef LSTMD_SERVER_ACCESS_H_
#define LSTMD_SERVER_ACCESS_H_

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "engine/engine.h"
#include "engine/mutex.h"
#include "grpcpp/server_context.h"
#include "server/caller.h"
#include "server/file_watcher.h"
#include "server/refusal_hold.h"

namespace lstmd::server {

struct AccessOptions {
  // Who may call (server/credentials_file.h); empty: everyone who can connect, as one and the same caller.
  std::string auth_file;
  // What tenants may use (server/quota.h); empty: no bounds.
  std::string quota_file;
  // How often both are looked at. A file that does not parse is logged, and what was read before stays in force.
  absl::Duration reload_interval = absl::Seconds(5);
};

// Turns what a call presents into its Caller: a token in the metadata "authorization" ("Bearer …"), else the names of
// the client's certificate. Thread-safe.
class AccessControl {
 public:
  // NOT_FOUND / FILE, INVALID_ARGUMENT / AUTH_FILE, QUOTA_FILE, and OPTIONS for quotas without tenants.
  static absl::StatusOr<std::shared_ptr<const AccessControl>> Create(const AccessOptions& options);

  // Checks the caller and counts the request. All who present nothing that is known are held back together, as a tenant
  // above its quota is (refusal_hold.h). UNAUTHENTICATED / TOKEN, PERMISSION_DENIED / ADMIN_ONLY,
  // RESOURCE_EXHAUSTED / QUOTA.
  absl::StatusOr<Caller> Admit(const grpc::CallbackServerContext& call, std::string_view rpc, Right right) const;

  // For SessionOptions::quota_of.
  OwnerQuota QuotaOf(std::string_view owner) const;

  bool enabled() const { return !options_.auth_file.empty(); }

 private:
  // Credentials of one reading of the files.
  struct Table {
    absl::flat_hash_map<Sha256, std::shared_ptr<Identity>> tokens;
    absl::flat_hash_map<std::string, std::shared_ptr<Identity>> certificates;
  };

  explicit AccessControl(const AccessOptions& options) : options_(options) {}
  absl::Status Load();
  absl::StatusOr<std::shared_ptr<const Identity>> Find(const grpc::CallbackServerContext& call) const;
  std::shared_ptr<const Table> table() const;

  const AccessOptions options_;
  mutable RefusalPacer strangers_;
  mutable Mutex mutex_;
  std::shared_ptr<const Table> table_ ABSL_GUARDED_BY(mutex_);
  QuotaTable quotas_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_map<std::string, std::shared_ptr<Tenant>> tenants_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<FileWatcher> watcher_;  // the first to go
};

}  // namespace lstmd::server

#endif  // LSTMD_SERVER_ACCESS_H_
