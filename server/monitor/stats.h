// SPDX-License-Identifier: Apache-2.0
#ifndef LSTMD_SERVER_MONITOR_STATS_H_
#define LSTMD_SERVER_MONITOR_STATS_H_

#include <string>
#include <vector>

#include "lstmd/v1/admin_service.pb.h"
#include "server/context.h"

namespace lstmd::server {

// What the server does at this moment: the one source of the metrics, of the status page and of GetStats. Thread-safe;
// takes the locks of models and queues for moments only. Without history and `recent`, and without histograms unless
// wanted.
v1::ServerStats CollectStats(const Context& context, bool histograms);
// As GetStats answers.
v1::ServerStats AnswerStats(const Context& context, const v1::GetStatsRequest& request);

// Why the server should get no traffic now, for people; empty: it is ready. It is while it does not drain, its devices
// are healthy, and a model is ready or none is wanted (there is no repository, or an empty one).
std::vector<std::string> NotReady(const Context& context);

}  // namespace lstmd::server

#endif  // LSTMD_SERVER_MONITOR_STATS_H_
