// SPDX-License-Identifier: Apache-2.0
//
// cuBLASLt is column-major: our row-major out[M, N] is its N x M matrix D = op(A) op(B) with A the weight (K x N, taken
// transposed) and B the operand (K x M).
#include "engine/cudnn/gemm.h"

#include "engine/errors.h"

namespace lstmd::cudnn {
namespace {

constexpr size_t kWorkspaceBytes = size_t{8} << 20;
// Shapes come from batch sizes, of which there are few; past this many something is odd and the oldest are dropped.
constexpr size_t kMaxPlans = 1024;

cudaDataType_t TypeOf(Element element) {
  switch (element) {
    case Element::kF16:
      return CUDA_R_16F;
    case Element::kBf16:
      return CUDA_R_16BF;
    default:
      return CUDA_R_32F;
  }
}

}  // namespace

struct Gemm::Plan {
  explicit Plan(const DeviceApi& device_api) : api(device_api) {}
  ~Plan() {
    if (preference != nullptr) api.cublasLtMatmulPreferenceDestroy(preference);
    for (cublasLtMatrixLayout_t layout : {weight, operand, out}) {
      if (layout != nullptr) api.cublasLtMatrixLayoutDestroy(layout);
    }
    if (matmul != nullptr) api.cublasLtMatmulDescDestroy(matmul);
  }

  const DeviceApi& api;
  cublasLtMatmulDesc_t matmul = nullptr;
  cublasLtMatrixLayout_t weight = nullptr;
  cublasLtMatrixLayout_t operand = nullptr;
  cublasLtMatrixLayout_t out = nullptr;
  cublasLtMatmulPreference_t preference = nullptr;
  cublasLtMatmulAlgo_t algo;
  size_t workspace_bytes = 0;
};

Gemm::Gemm(const Device& device, Element element, bool allow_tf32)
    : device_(device), element_(element), allow_tf32_(allow_tf32), workspace_(device) {}

Gemm::~Gemm() = default;

absl::Status Gemm::MakePlan(int32_t m, int32_t n, int32_t k, Plan* plan) {
  const DeviceApi& api = device_.api();
  const cublasComputeType_t compute =
      element_ == Element::kF32 && allow_tf32_ ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
  const cublasOperation_t transposed = CUBLAS_OP_T;
  const size_t limit = kWorkspaceBytes;
  const cudaDataType_t type = TypeOf(element_);
  absl::Status status =
      device_.Check(api.cublasLtMatmulDescCreate(&plan->matmul, compute, CUDA_R_32F), "planning a matrix product");
  if (status.ok()) {
    status = device_.Check(
        api.cublasLtMatmulDescSetAttribute(plan->matmul, CUBLASLT_MATMUL_DESC_TRANSA, &transposed, sizeof transposed),
        "planning a matrix product");
  }
  if (status.ok())
    status = device_.Check(api.cublasLtMatrixLayoutCreate(&plan->weight, type, k, n, k), "weight layout");
  if (status.ok()) {
    status = device_.Check(api.cublasLtMatrixLayoutCreate(&plan->operand, type, k, m, k), "operand layout");
  }
  if (status.ok())
    status = device_.Check(api.cublasLtMatrixLayoutCreate(&plan->out, CUDA_R_32F, n, m, n), "out layout");
  if (status.ok()) status = device_.Check(api.cublasLtMatmulPreferenceCreate(&plan->preference), "plan preference");
  if (status.ok()) {
    status = device_.Check(api.cublasLtMatmulPreferenceSetAttribute(
                               plan->preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &limit, sizeof limit),
                           "plan preference");
  }
  if (!status.ok()) return status;
  cublasLtMatmulHeuristicResult_t best{};
  int found = 0;
  status = device_.Check(api.cublasLtMatmulAlgoGetHeuristic(device_.blas(), plan->matmul, plan->weight, plan->operand,
                                                            plan->out, plan->out, plan->preference, 1, &best, &found),
                         "choosing an algorithm");
  if (!status.ok()) return status;
  if (found == 0) return Internal("DEVICE_ERROR", "cuBLASLt knows no algorithm for a matrix product");
  plan->algo = best.algo;
  plan->workspace_bytes = best.workspaceSize;
  return workspace_.Reserve(kWorkspaceBytes);
}

absl::Status Gemm::Prepare(int32_t m, int32_t n, int32_t k) {
  const auto key = std::make_tuple(m, n, k);
  if (plans_.count(key) != 0) return absl::OkStatus();
  if (plans_.size() >= kMaxPlans) plans_.erase(plans_.begin());
  auto plan = std::make_unique<Plan>(device_.api());
  if (absl::Status status = MakePlan(m, n, k, plan.get()); !status.ok()) return status;
  plans_[key] = std::move(plan);
  return absl::OkStatus();
}

absl::Status Gemm::Run(const void* operand, const void* weight, float* out, int32_t m, int32_t n, int32_t k) {
  if (absl::Status status = Prepare(m, n, k); !status.ok()) return status;
  const Plan& plan = *plans_[std::make_tuple(m, n, k)];
  const float one = 1.0f;
  const float zero = 0.0f;
  return device_.Check(device_.api().cublasLtMatmul(device_.blas(), plan.matmul, &one, weight, plan.weight, operand,
                                                    plan.operand, &zero, out, plan.out, out, plan.out, &plan.algo,
                                                    workspace_.as<void>(), plan.workspace_bytes, device_.run_stream()),
                       "multiplying matrices");
}

}  // namespace lstmd::cudnn
