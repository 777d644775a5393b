// SPDX-License-Identifier: Apache-2.0
//
// The suite of all backends on a real GPU. Without one it ends with 77, which ctest shows as skipped.
#include <iostream>

#include "engine/cudnn/cudnn_backend.h"
#include "gtest/gtest.h"
#include "tests/support/backend_suite.h"

namespace lstmd::test {
namespace {

BackendRow Row(const char* name, Precision precision, double tolerance, int rnn_min_steps, bool graphs) {
  BackendRow row;
  row.name = name;
  row.precision = precision;
  row.absolute = row.relative = tolerance;
  row.create = [=] {
    cudnn::CudnnOptions options;
    options.rnn_min_steps = rnn_min_steps;
    options.graphs = graphs;
    return cudnn::CreateCudnnBackend(cudnn::RealApi(), options, "cuda:0");
  };
  return row;
}

INSTANTIATE_TEST_SUITE_P(Gpu, BackendSuite,
                         testing::Values(Row("f32_graphs_rnn", Precision::kF32, 1e-5, 2, true),
                                         Row("f32_eager_cells", Precision::kF32, 1e-5, 1000000, false),
                                         Row("bf16_graphs_rnn", Precision::kBf16, 0.1, 2, true),
                                         Row("f16_graphs_rnn", Precision::kF16, 0.02, 2, true)),
                         BackendRowName);

}  // namespace
}  // namespace lstmd::test

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  const auto backend = lstmd::cudnn::CreateCudnnBackend(lstmd::cudnn::RealApi(), {}, "cuda:0");
  if (!backend.ok()) {
    std::cout << "SKIPPED: " << backend.status().message() << "\n";
    return 77;
  }
  return RUN_ALL_TESTS();
}
