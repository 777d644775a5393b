// SPDX-License-Identifier: Apache-2.0
#include "server/slow_log.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "server/logging.h"
#include "server/telemetry.h"

namespace lstmd::server {
namespace {

std::string Milliseconds(absl::Duration time) {
  return absl::StrFormat("%.3f", absl::ToDoubleMilliseconds(std::max(time, absl::ZeroDuration())));
}

}  // namespace

void SlowLog::Report(std::string_view rpc, const RequestTimes& times, const grpc::ServerContextBase& call) {
  Telemetry::Get().Rpc(rpc).slow.Add();
  uint64_t left_out = 0;
  {
    MutexLock lock(&mutex_);
    if (times.written - second_ >= absl::Seconds(1)) {
      second_ = times.written;
      lines_ = 0;
    }
    if (lines_ == kLinesPerSecond) {
      ++left_out_;
      return;
    }
    ++lines_;
    std::swap(left_out, left_out_);
  }
  const absl::Duration total = times.written - times.received;
  const absl::Duration reply = times.written - times.ended;
  // Decoding, waiting for the session's turn to be looked up, and between two slices of a long sequence.
  const absl::Duration other = total - times.timing.queue - times.timing.compute - reply;
  LogFields fields = {{"rpc", std::string(rpc), true},
                      {"total_ms", Milliseconds(total), true},
                      {"queue_ms", Milliseconds(times.timing.queue)},
                      {"compute_ms", Milliseconds(times.timing.compute)},
                      {"reply_ms", Milliseconds(reply)},
                      {"other_ms", Milliseconds(other)},
                      {"batch", absl::StrCat(times.timing.batch_size)},
                      {"items", absl::StrCat(times.items)}};
  if (!times.subject.empty()) fields.push_back({"subject", times.subject});
  if (left_out != 0) fields.push_back({"left_out", absl::StrCat(left_out)});
  AddTrace(call, &fields);
  LogLine(spdlog::level::warn,
          absl::StrCat(absl::string_view(rpc.data(), rpc.size()), " was slow: ", Milliseconds(total), " ms"), fields);
}

}  // namespace lstmd::server
