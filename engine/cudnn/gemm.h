// SPDX-License-Identifier: Apache-2.0
//
// out[M, N] = operand[M, K] * weight[N, K]^T through cuBLASLt, with the plan of each shape kept.
#ifndef LSTMD_ENGINE_CUDNN_GEMM_H_
#define LSTMD_ENGINE_CUDNN_GEMM_H_

#include <cstdint>
#include <map>
#include <memory>
#include <tuple>

#include "absl/status/status.h"
#include "engine/cudnn/device.h"

namespace lstmd::cudnn {

// Thread safety: one thread at a time.
class Gemm {
 public:
  // `element` is the type of operand and weight; sums and out are float32. allow_tf32: float32 operands may be rounded
  // to 10 bits of mantissa on the way in (faster, error about 1e-3).
  Gemm(const Device& device, Element element, bool allow_tf32);
  ~Gemm();
  Gemm(const Gemm&) = delete;
  Gemm& operator=(const Gemm&) = delete;

  // Finds the plan of a shape, so that Run does not have to; needed before Run is captured.
  absl::Status Prepare(int32_t m, int32_t n, int32_t k);
  // Enqueues the product on the device's run stream. Row-major, no padding. M >= 1.
  absl::Status Run(const void* operand, const void* weight, float* out, int32_t m, int32_t n, int32_t k);

 private:
  struct Plan;

  absl::Status MakePlan(int32_t m, int32_t n, int32_t k, Plan* plan);

  const Device& device_;
  const Element element_;
  const bool allow_tf32_;
  DeviceBuffer workspace_;
  std::map<std::tuple<int32_t, int32_t, int32_t>, std::unique_ptr<Plan>> plans_;
};

}  // namespace lstmd::cudnn

#endif  // LSTMD_ENGINE_CUDNN_GEMM_H_
