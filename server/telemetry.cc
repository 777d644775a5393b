// SPDX-License-Identifier: Apache-2.0
#include "server/telemetry.h"

#include <algorithm>
#include <functional>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace lstmd::server {

void RpcCounters::Ended(absl::StatusCode code) {
  const auto index = static_cast<size_t>(code);
  calls[index < kStatusCodes ? index : static_cast<size_t>(absl::StatusCode::kUnknown)].Add();
}

template <typename Value>
Value* Telemetry::Table<Value>::Find(std::string_view key) {
  size_t slot = std::hash<std::string_view>()(key) % kSlots;
  const auto probe = [&]() -> Entry* {
    for (;; slot = (slot + 1) % kSlots) {
      Entry* const entry = slots_[slot].load(std::memory_order_acquire);
      if (entry == nullptr || entry->key == key) return entry;
    }
  };
  if (Entry* const entry = probe()) return &entry->value;
  MutexLock lock(&mutex_);
  // Somebody else may have filled slots since.
  if (Entry* const entry = probe()) return &entry->value;
  if (entries_.size() == kMaxEntries) return nullptr;
  auto& entry = *entries_.emplace_back(new Entry{std::string(key), {}});
  slots_[slot].store(&entry, std::memory_order_release);
  return &entry.value;
}

template <typename Value>
template <typename Visitor>
void Telemetry::Table<Value>::ForEach(const Visitor& visit) const {
  for (const std::atomic<Entry*>& slot : slots_) {
    if (const Entry* const entry = slot.load(std::memory_order_acquire)) visit(entry->key, entry->value);
  }
}

Telemetry& Telemetry::Get() {
  static auto* const telemetry = new Telemetry();
  return *telemetry;
}

RpcCounters& Telemetry::Rpc(std::string_view rpc) {
  RpcCounters* const counters = rpcs_.Find(rpc);
  return counters == nullptr ? other_ : *counters;
}

void Telemetry::CountFailure(std::string_view rpc, absl::StatusCode code, std::string_view reason) {
  const absl::string_view name(rpc.data(), rpc.size());
  const std::string text = absl::StatusCodeToString(code);
  Counter* counter =
      failures_.Find(absl::StrCat(name, "/", text, "/", absl::string_view(reason.data(), reason.size())));
  if (counter == nullptr) counter = failures_.Find(absl::StrCat(name, "/", text, "/OTHER"));
  (counter == nullptr ? other_failures_ : *counter).Add();
}

void Telemetry::CountRefusal(std::string_view tenant, std::string_view bound) {
  Counter* const counter = refusals_.Find(absl::StrCat(absl::string_view(bound.data(), bound.size()), "/",
                                                       absl::string_view(tenant.data(), tenant.size())));
  (counter == nullptr ? other_refusals_ : *counter).Add();
}

std::vector<RpcStats> Telemetry::Rpcs() const {
  std::vector<RpcStats> all;
  rpcs_.ForEach([&](const std::string& rpc, const RpcCounters& counters) { all.push_back({rpc, &counters}); });
  std::sort(all.begin(), all.end(), [](const RpcStats& a, const RpcStats& b) { return a.rpc < b.rpc; });
  return all;
}

std::vector<FailureStats> Telemetry::Failures() const {
  std::vector<FailureStats> all;
  failures_.ForEach([&](const std::string& key, const Counter& counter) {
    std::vector<std::string> parts = absl::StrSplit(key, absl::MaxSplits('/', 2));
    all.push_back({std::move(parts[0]), std::move(parts[1]), std::move(parts[2]), counter.value()});
  });
  if (other_failures_.value() != 0) all.push_back({"OTHER", "UNKNOWN", "OTHER", other_failures_.value()});
  std::sort(all.begin(), all.end(), [](const FailureStats& a, const FailureStats& b) {
    return std::tie(b.count, a.rpc, a.code, a.reason) < std::tie(a.count, b.rpc, b.code, b.reason);
  });
  return all;
}

std::vector<RefusalStats> Telemetry::Refusals() const {
  std::vector<RefusalStats> all;
  refusals_.ForEach([&](const std::string& key, const Counter& counter) {
    std::vector<std::string> parts = absl::StrSplit(key, absl::MaxSplits('/', 1));
    all.push_back({std::move(parts[1]), std::move(parts[0]), counter.value()});
  });
  if (other_refusals_.value() != 0) all.push_back({"OTHER", "OTHER", other_refusals_.value()});
  std::sort(all.begin(), all.end(), [](const RefusalStats& a, const RefusalStats& b) {
    return std::tie(a.tenant, a.bound) < std::tie(b.tenant, b.bound);
  });
  return all;
}

}  // namespace lstmd::server
