// SPDX-License-Identifier: Apache-2.0
#include "server/caller.h"

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "engine/errors.h"
#include "engine/names.h"

namespace lstmd::server {
namespace {

absl::string_view View(std::string_view text) { return {text.data(), text.size()}; }

}  // namespace

absl::Status Tenant::OverQuota(std::string_view bound, std::string_view what, absl::Duration wait, uint64_t works) {
  absl::Status error = ResourceExhausted("QUOTA", absl::StrCat("tenant '", name_, "' has used up its ", View(what)))
                           .Quota(absl::StrCat("tenant:", name_))
                           .With("bound", bound)
                           .RetryAfter(wait);
  SetHold(refusals_.Next(works, absl::Now()), &error);
  return error;
}

void Tenant::SetQuota(Quota quota) {
  auto next = std::make_shared<const Quota>(std::move(quota));
  MutexLock lock(&mutex_);
  quota_ = std::move(next);
}

std::shared_ptr<const Quota> Tenant::quota() const {
  MutexLock lock(&mutex_);
  return quota_;
}

absl::Status Tenant::TakeRequest() {
  const double rate = quota()->requests_per_second;
  if (rate <= 0) return absl::OkStatus();
  const absl::Duration wait = requests_.Take(1, rate, absl::Now());
  if (wait == absl::ZeroDuration()) return absl::OkStatus();
  return OverQuota("requests_per_second", absl::StrCat("requests per second, ", rate), wait, 0);
}

absl::Status Tenant::Enter(uint64_t works, uint64_t steps) {
  const std::shared_ptr<const Quota> bounds = quota();
  if (in_flight_.fetch_add(works, std::memory_order_relaxed) + works > bounds->in_flight) {
    Leave(works);
    return OverQuota("in_flight", absl::StrCat("steps and sequences in flight, ", bounds->in_flight),
                     absl::Milliseconds(50), works);
  }
  if (bounds->steps_per_second <= 0) return absl::OkStatus();
  const absl::Duration wait = steps_.Take(steps, bounds->steps_per_second, absl::Now());
  if (wait == absl::ZeroDuration()) return absl::OkStatus();
  Leave(works);
  return OverQuota("steps_per_second", absl::StrCat("steps per second, ", bounds->steps_per_second), wait, works);
}

std::string_view Caller::owner() const {
  return identity_ == nullptr ? std::string_view() : std::string_view(identity_->tenant->name());
}

absl::Status Caller::CheckValid() const {
  if (identity_ == nullptr) return absl::OkStatus();
  if (identity_->revoked.load(std::memory_order_relaxed)) {
    return Error(absl::StatusCode::kUnauthenticated, "TOKEN", "the credential of this call was taken away");
  }
  if (absl::Now() >= identity_->credential.expires) {
    return Error(absl::StatusCode::kUnauthenticated, "TOKEN", "the credential has expired");
  }
  return absl::OkStatus();
}

absl::Status Caller::CheckAdmin(std::string_view rpc) const {
  if (identity_ == nullptr || identity_->credential.role == Role::kAdmin) return absl::OkStatus();
  return Error(absl::StatusCode::kPermissionDenied, "ADMIN_ONLY",
               absl::StrCat(View(rpc), " is for admins; the caller is a user of tenant '", View(owner()), "'"))
      .With("rpc", rpc);
}

bool Caller::MayUse(std::string_view model) const {
  return identity_ == nullptr || identity_->tenant->quota()->Allows(model);
}

absl::Status Caller::CheckModel(std::string_view model) const {
  if (MayUse(model)) return absl::OkStatus();
  return Error(absl::StatusCode::kPermissionDenied, "MODEL_NOT_ALLOWED",
               absl::StrCat("tenant '", View(owner()), "' may not use '", ModelResource(model), "'"))
      .Resource(ModelResource(model));
}

}  // namespace lstmd::server
