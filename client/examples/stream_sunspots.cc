// SPDX-License-Identifier: Apache-2.0
//
// Forecasts the next month's sunspots, month by month, with the sample model of deploy/models:
//
//   lstmd --repository deploy/models &
//   stream_sunspots 127.0.0.1:8001 deploy/sample/sunspots.csv
//
// The model reads and answers sunspots / 100. Each line of the file is "month,sunspots", after a header.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "client/client.h"
#include "client/error.h"

namespace {

int Fail(const absl::Status& status) {
  std::fprintf(stderr, "stream_sunspots: %s\n", lstmd::client::Describe(status).c_str());
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return Fail(absl::InvalidArgumentError("usage: stream_sunspots ADDRESS FILE.csv"));
  auto client = lstmd::client::Client::Connect(argv[1]);
  if (!client.ok()) return Fail(client.status());
  // The server keeps the hidden and cell state of the session from step to step.
  auto session = (*client)->CreateSession("sunspots");
  if (!session.ok()) return Fail(session.status());
  auto stream = (*client)->OpenStream();
  auto binding = stream->Bind(session->name());
  if (!binding.ok()) return Fail(binding.status());

  std::ifstream file(argv[2]);
  std::string line;
  std::getline(file, line);  // the header
  float forecast = NAN;
  double error = 0;
  int months = 0;
  while (std::getline(file, line)) {
    const size_t comma = line.find(',');
    if (comma == std::string::npos) continue;
    const float actual = std::strtof(line.c_str() + comma + 1, nullptr);
    if (!std::isnan(forecast)) {
      std::printf("%s  forecast %6.1f  actual %6.1f\n", line.substr(0, comma).c_str(), forecast, actual);
      error += std::fabs(forecast - actual);
      ++months;
    }
    auto output = stream->Step(binding->handle, {actual / 100});
    if (!output.ok()) return Fail(output.status());
    forecast = output->front() * 100;
  }
  if (months == 0) return Fail(absl::InvalidArgumentError(std::string(argv[2]) + " has no months"));
  std::printf("next month: %.1f; mean absolute error over %d months: %.2f\n", forecast, months, error / months);

  const absl::Status finished = stream->Finish();
  const absl::Status deleted = session->Delete();
  return finished.ok() && deleted.ok() ? 0 : Fail(finished.ok() ? deleted : finished);
}
