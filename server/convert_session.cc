// SPDX-License-Identifier: Apache-2.0
#include "server/convert_session.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/errors.h"
#include "server/convert_model.h"
#include "server/convert_tensor.h"
#include "server/names.h"

namespace lstmd::server {

void ToProto(const SessionInfo& info, const ModelSpec* spec, v1::Session* proto) {
  proto->set_name(FormatSessionName(info.model, info.id));
  proto->set_uid(info.uid);
  proto->set_model_version(info.model_version);
  proto->set_epoch(info.epoch);
  proto->set_last_seq(info.last_seq);
  proto->set_steps(info.steps);
  proto->set_residency(info.residency == Residency::kStore  ? v1::Session::STORE
                       : info.residency == Residency::kDisk ? v1::Session::DISK
                       : info.residency == Residency::kHost ? v1::Session::HOST
                                                            : v1::Session::DEVICE);
  proto->set_pinned(info.pinned);
  ToProto(info.create_time, proto->mutable_create_time());
  if (info.last_step_time != absl::InfinitePast()) ToProto(info.last_step_time, proto->mutable_last_step_time());
  const int64_t seconds = absl::ToInt64Seconds(info.idle_ttl);
  proto->mutable_idle_ttl()->set_seconds(seconds);
  proto->mutable_idle_ttl()->set_nanos(
      static_cast<int32_t>(absl::ToInt64Nanoseconds(info.idle_ttl - absl::Seconds(seconds))));
  if (info.expire_time != absl::InfiniteFuture()) ToProto(info.expire_time, proto->mutable_expire_time());
  proto->set_durability(info.durability == Durability::kNone       ? v1::Session::NONE
                        : info.durability == Durability::kPeriodic ? v1::Session::PERIODIC
                                                                   : v1::Session::EVERY_STEP);
  proto->set_durable_seq(info.durable_seq);
  for (const auto& [key, value] : info.labels) (*proto->mutable_labels())[key] = value;
  if (info.state && spec != nullptr) {
    SetState(*spec, info.state->h.data(), info.state->c.data(), proto->mutable_state());
  }
}

void ToProto(const Timing& timing, v1::Timing* proto) {
  proto->set_queue_ns(static_cast<uint64_t>(std::max<int64_t>(0, absl::ToInt64Nanoseconds(timing.queue))));
  proto->set_compute_ns(static_cast<uint64_t>(std::max<int64_t>(0, absl::ToInt64Nanoseconds(timing.compute))));
  proto->set_batch_size(timing.batch_size);
}

absl::StatusOr<StateValues> FromProto(const v1::LstmState& state, const ModelSpec& spec) {
  absl::StatusOr<StateView> view = ViewState(state, spec, std::nullopt);
  if (!view.ok()) return view.status();
  StateValues values;
  values.h.resize(view->h.elements);
  values.c.resize(view->c.elements);
  ReadFloats(view->h, 0, values.h.size(), values.h.data());
  ReadFloats(view->c, 0, values.c.size(), values.c.data());
  return values;
}

absl::StatusOr<absl::Duration> FromProto(const google::protobuf::Duration& proto) {
  constexpr int64_t kMax = 315'576'000'000;  // 10,000 years, the range of the message
  if (proto.seconds() < 0 || proto.nanos() < 0 || proto.seconds() > kMax || proto.nanos() >= 1'000'000'000) {
    return InvalidArgument("DURATION", absl::StrCat("got ", proto.seconds(), " s and ", proto.nanos(),
                                                    " ns, want 0 or more, and less than 1e9 ns"));
  }
  return absl::Seconds(proto.seconds()) + absl::Nanoseconds(proto.nanos());
}

absl::StatusOr<absl::Time> FromProto(const google::protobuf::Timestamp& proto) {
  if (proto.seconds() < -62135596800 || proto.seconds() > 253402300799 || proto.nanos() < 0 ||
      proto.nanos() >= 1'000'000'000) {
    return InvalidArgument("TIMESTAMP", absl::StrCat("got ", proto.seconds(), " s and ", proto.nanos(),
                                                     " ns, want a time of the years 1 to 9999"));
  }
  return absl::FromUnixSeconds(proto.seconds()) + absl::Nanoseconds(proto.nanos());
}

}  // namespace lstmd::server
