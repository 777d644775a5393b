// SPDX-License-Identifier: Apache-2.0
#ifndef LSTMD_SERVER_MONITOR_EXPOSITION_H_
#define LSTMD_SERVER_MONITOR_EXPOSITION_H_

#include <string>

#include "absl/time/time.h"
#include "lstmd/v1/admin_service.pb.h"

namespace lstmd::server {

// The metrics of server/monitor/metrics.inc, all of them, in Prometheus's text format. `stats`: with histograms.
// `collect`: how long they took.
std::string ToPrometheus(const v1::ServerStats& stats, absl::Duration collect);

}  // namespace lstmd::server

#endif  // LSTMD_SERVER_MONITOR_EXPOSITION_H_
