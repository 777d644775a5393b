// SPDX-License-Identifier: Apache-2.0
#ifndef LSTMD_SERVER_MONITOR_PROCESS_STATS_H_
#define LSTMD_SERVER_MONITOR_PROCESS_STATS_H_

#include "lstmd/v1/admin_service.pb.h"

namespace lstmd::server {

// Of this process, from /proc/self; what cannot be read stays 0.
v1::ProcessStats ReadProcessStats();

}  // namespace lstmd::server

#endif  // LSTMD_SERVER_MONITOR_PROCESS_STATS_H_
