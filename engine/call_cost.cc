// SPDX-License-Identifier: Apache-2.0
#include "engine/call_cost.h"

#include <algorithm>
#include <limits>

namespace lstmd {
namespace {

// Weight of the newest call: a change of the machine's speed is followed within a dozen calls, one that was
// interrupted does not count for much.
constexpr double kNewest = 0.125;
constexpr double kMaxUnits = 1e12;

size_t SizeOf(uint64_t units, size_t sizes) {
  return std::min<size_t>(63 - static_cast<size_t>(__builtin_clzll(units)), sizes - 1);
}

}  // namespace

void CallCost::Add(uint64_t units, absl::Duration time) {
  const size_t size = SizeOf(units, kSizes);
  const double nanos = absl::ToDoubleNanoseconds(time) / static_cast<double>(units);
  const bool seen = (seen_ >> size & 1) != 0;
  unit_nanos_[size] = static_cast<float>(seen ? (1 - kNewest) * unit_nanos_[size] + kNewest * nanos : nanos);
  seen_ |= uint32_t{1} << size;
}

// A larger call takes no less for all its units together, and no more for one of them.
double CallCost::UnitNanos(size_t size) const {
  for (size_t smaller = size + 1; smaller-- > 0;) {
    if (seen_ >> smaller & 1) return unit_nanos_[smaller];
  }
  for (size_t larger = size + 1; larger < kSizes; ++larger) {
    if (seen_ >> larger & 1) return unit_nanos_[larger] * static_cast<double>(uint64_t{1} << (larger - size));
  }
  return std::numeric_limits<double>::infinity();
}

absl::Duration CallCost::Estimate(uint64_t units) const {
  if (seen_ == 0) return absl::InfiniteDuration();
  return absl::Nanoseconds(UnitNanos(SizeOf(units, kSizes)) * static_cast<double>(units));
}

uint64_t CallCost::UnitsWithin(absl::Duration time, uint64_t unknown) const {
  if (seen_ == 0) return unknown;
  const double nanos = absl::ToDoubleNanoseconds(time);
  for (size_t size = kSizes; size-- > 0;) {
    const double each = UnitNanos(size);
    const double least = static_cast<double>(uint64_t{1} << size);
    if (each * least > nanos) continue;
    const double units = each > 0 ? nanos / each : kMaxUnits;
    return static_cast<uint64_t>(size + 1 == kSizes ? std::min(units, kMaxUnits) : std::min(units, 2 * least - 1));
  }
  return 1;
}

}  // namespace lstmd
