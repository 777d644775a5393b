// SPDX-License-Identifier: Apache-2.0
//
// Who makes a call, and what it may do and use. Where access is not controlled, every caller is the default one: it may
// do all, its sessions have no owner, and every check here is a comparison with nullptr.
#ifndef LSTMD_SERVER_CALLER_H_
#define LSTMD_SERVER_CALLER_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "engine/mutex.h"
#include "server/credentials_file.h"
#include "server/quota.h"
#include "server/rate_limiter.h"
#include "server/refusal_hold.h"

namespace lstmd::server {

// What an rpc asks of its caller.
enum class Right : uint8_t {
  kOpen,   // nothing: for probes
  kUse,    // to be known
  kAdmin,  // to be an admin: for what changes the server itself
};

// What one tenant uses, and its bounds. Outlives the credentials that name it. Thread-safe.
class Tenant {
 public:
  Tenant(std::string name, Quota quota) : name_(std::move(name)) { SetQuota(std::move(quota)); }

  const std::string& name() const { return name_; }
  void SetQuota(Quota quota) ABSL_LOCKS_EXCLUDED(mutex_);
  std::shared_ptr<const Quota> quota() const ABSL_LOCKS_EXCLUDED(mutex_);

  // RESOURCE_EXHAUSTED / QUOTA, with RetryInfo and QuotaFailure, to be held (server/refusal_hold.h).
  absl::Status TakeRequest();
  // The same; on success to be followed by Leave(works).
  absl::Status Enter(uint64_t works, uint64_t steps);
  void Leave(uint64_t works) { in_flight_.fetch_sub(works, std::memory_order_relaxed); }

 private:
  absl::Status OverQuota(std::string_view bound, std::string_view what, absl::Duration wait, uint64_t works);

  const std::string name_;
  RefusalPacer refusals_;
  RateLimiter requests_;
  RateLimiter steps_;
  std::atomic<uint64_t> in_flight_{0};
  mutable Mutex mutex_;
  std::shared_ptr<const Quota> quota_ ABSL_GUARDED_BY(mutex_);
};

// A credential that was presented.
struct Identity {
  Credential credential;
  std::shared_ptr<Tenant> tenant;
  std::atomic<bool> revoked{false};
};

// Cheap to copy. Thread-safe.
class Caller {
 public:
  Caller() = default;
  explicit Caller(std::shared_ptr<const Identity> identity) : identity_(std::move(identity)) {}

  // The owner of its sessions (engine/names.h): its tenant, "" where access is not controlled.
  std::string_view owner() const;

  // UNAUTHENTICATED / TOKEN once the credential has expired or was taken away. For streams: a call is checked once.
  absl::Status CheckValid() const;
  // PERMISSION_DENIED / ADMIN_ONLY.
  absl::Status CheckAdmin(std::string_view rpc) const;
  // PERMISSION_DENIED / MODEL_NOT_ALLOWED, whether or not there is such a model.
  absl::Status CheckModel(std::string_view model) const;
  bool MayUse(std::string_view model) const;

  // Takes `works` pieces of work with `steps` time steps together from the tenant's quota. RESOURCE_EXHAUSTED / QUOTA;
  // otherwise Leave follows, for all of them in any number of calls.
  absl::Status Enter(uint64_t works, uint64_t steps) const {
    return identity_ == nullptr ? absl::OkStatus() : identity_->tenant->Enter(works, steps);
  }
  void Leave(uint64_t works) const {
    if (identity_ != nullptr) identity_->tenant->Leave(works);
  }

 private:
  std::shared_ptr<const Identity> identity_;
};

}  // namespace lstmd::server

#endif  // LSTMD_SERVER_CALLER_H_
