// SPDX-License-Identifier: Apache-2.0
//
// A server whose metrics a test can read.
#ifndef LSTMD_TESTS_INTEGRATION_MONITOR_FIXTURE_H_
#define LSTMD_TESTS_INTEGRATION_MONITOR_FIXTURE_H_

#include <cmath>
#include <functional>
#include <memory>
#include <sstream>
#include <string>

#include "absl/time/clock.h"
#include "httplib.h"
#include "lstmd/v1/admin_service.grpc.pb.h"
#include "tests/integration/server_fixture.h"

namespace lstmd {

class MonitorTest : public ServerTest {
 protected:
  MonitorTest() { options_.metrics_listen = "127.0.0.1:0"; }

  void UseAdmin() { admin_ = v1::AdminService::NewStub(NewChannel()); }

  httplib::Result Fetch(const std::string& path) {
    const std::string address = server_->metrics_address();
    httplib::Client client("127.0.0.1", std::stoi(address.substr(address.rfind(':') + 1)));
    client.set_read_timeout(30);
    httplib::Result result = client.Get(path);
    EXPECT_TRUE(result) << path;
    return result;
  }
  std::string Body(const std::string& path, int status = 200) {
    const httplib::Result result = Fetch(path);
    EXPECT_EQ(result ? result->status : 0, status) << path;
    return result ? result->body : "";
  }
  // Of one series, as written: `lstmd_steps_total{model="m",version="1",outcome="ok"}`; NaN where there is none.
  double Metric(const std::string& series) {
    std::istringstream lines(Body("/metrics"));
    for (std::string line; std::getline(lines, line);) {
      if (line.rfind(series + " ", 0) == 0) return std::stod(line.substr(series.size() + 1));
    }
    return std::nan("");
  }
  v1::ServerStats Stats(bool histograms = false) {
    v1::GetStatsRequest request;
    request.set_include_histograms(histograms);
    request.mutable_history_since();
    v1::ServerStats stats;
    const auto context = Context();
    const grpc::Status status = admin_->GetStats(context.get(), request, &stats);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return stats;
  }
  // Replies are counted once the transport has them, which may be after the client has.
  double WaitForMetric(const std::string& series, double want) {
    double value = 0;
    for (int i = 0; i < 1000; ++i) {
      value = Metric(series);
      if (value == want) break;
    }
    return value;
  }

  // Looks until `enough`, for a minute.
  double WaitFor(const std::string& series, const std::function<bool(double)>& enough) {
    const absl::Time end = absl::Now() + absl::Minutes(1);
    double value = Metric(series);
    while (!enough(value) && absl::Now() < end) value = Metric(series);
    return value;
  }

  std::unique_ptr<v1::AdminService::Stub> admin_;
};

}  // namespace lstmd

#endif  // LSTMD_TESTS_INTEGRATION_MONITOR_FIXTURE_H_
