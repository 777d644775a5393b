// SPDX-License-Identifier: Apache-2.0
//
// What reduced precision costs a trained model: the sample model forecasts each month of its series from the months
// before, in each precision. Prints the errors that the documentation quotes.
#include <cmath>
#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

#include "engine/cpu/cpu_backend.h"
#include "engine/repository.h"
#include "gtest/gtest.h"

namespace lstmd {
namespace {

std::vector<float> Series() {
  std::ifstream file(LSTMD_DEPLOY "/sample/sunspots.csv");
  std::vector<float> values;
  std::string line;
  std::getline(file, line);
  while (std::getline(file, line)) values.push_back(std::stof(line.substr(line.find(',') + 1)) / 100);
  return values;
}

std::vector<float> Forecast(const ModelFiles& files, Precision precision, const std::vector<float>& series) {
  ModelSpec spec = files.spec;
  spec.precision = precision;
  auto backend = CreateCpuBackend({1, ""});
  EXPECT_TRUE(backend.ok()) << backend.status();
  auto model = (*backend)->Load(spec, files.weights);
  EXPECT_TRUE(model.ok()) << model.status();
  auto pool = (*backend)->CreateStatePool(**model);
  EXPECT_TRUE(pool.ok()) << pool.status();
  std::vector<float> output(series.size());
  Row row;
  row.slot = *(*pool)->Allocate();
  row.input = series.data();
  row.output = output.data();
  row.steps = row.budget = static_cast<uint32_t>(series.size());
  std::vector<Row*> rows = {&row};
  EXPECT_TRUE((*backend)->Run(**model, **pool, rows).ok());
  return output;
}

// Root mean square of a - b, b `lag` months later.
double Error(const std::vector<float>& a, const std::vector<float>& b, size_t lag) {
  double squares = 0;
  for (size_t t = 0; t + lag < b.size(); ++t) squares += std::pow(double{a[t]} - b[t + lag], 2);
  return std::sqrt(squares / static_cast<double>(b.size() - lag));
}

TEST(SunspotsTest, ReducedPrecisionForecastsAsWell) {
  auto files = LoadModelFolder(LSTMD_DEPLOY "/models/sunspots/1");
  ASSERT_TRUE(files.ok()) << files.status();
  const std::vector<float> series = Series();
  ASSERT_GT(series.size(), 3000u);
  const std::vector<float> f32 = Forecast(*files, Precision::kF32, series);
  const double error = Error(f32, series, 1);
  EXPECT_LT(error, 0.3);
  for (Precision precision : {Precision::kF32, Precision::kBf16Weights, Precision::kInt8Weights, Precision::kBf16}) {
    const std::vector<float> reduced = Forecast(*files, precision, series);
    const double own = Error(reduced, series, 1), moved = Error(reduced, f32, 0);
    std::printf("%-24s error of the forecast %.5f, from F32's %.1e (root mean square)\n", Name(precision).data(), own,
                moved);
    EXPECT_LT(own, 1.01 * error) << Name(precision);
    EXPECT_EQ(moved == 0, precision == Precision::kF32) << Name(precision);
  }
}

}  // namespace
}  // namespace lstmd
