// SPDX-License-Identifier: Apache-2.0
//
// cuBLASLt of the emulation: column-major products with the layouts it is given.
#include <cstring>

#include "engine/cudnn/kernel_bodies.h"
#include "tests/cudnn/emulation.h"

namespace lstmd::cudnn {
namespace {

using emulation::Enter;
using emulation::Violate;

struct Matmul {
  cublasOperation_t transpose_a = CUBLAS_OP_N;
  cublasOperation_t transpose_b = CUBLAS_OP_N;
};

struct Layout {
  cudaDataType_t type = CUDA_R_32F;
  uint64_t rows = 0;
  uint64_t cols = 0;
  int64_t ld = 0;
  size_t bytes() const { return size_t(ld) * cols * (type == CUDA_R_32F ? 4 : 2); }
};

struct Preference {
  size_t workspace = 0;
};

struct Handle {};

constexpr size_t kWorkspaceNeeded = 4096;

#define LSTMD_ENTER(function)                               \
  if (const auto entered = Enter(function); entered.fail) { \
    return static_cast<cublasStatus_t>(entered.error);      \
  }

template <typename Ours, typename Theirs>
cublasStatus_t Make(Theirs* to, Ours value = {}) {
  emulation::ObjectMade();
  *to = reinterpret_cast<Theirs>(new Ours(value));
  return CUBLAS_STATUS_SUCCESS;
}

template <typename Ours, typename Theirs>
cublasStatus_t Drop(Theirs handle) {
  emulation::ObjectGone();
  delete reinterpret_cast<Ours*>(handle);
  return CUBLAS_STATUS_SUCCESS;
}

Element ElementOf(cudaDataType_t type) {
  return type == CUDA_R_16F ? Element::kF16 : type == CUDA_R_16BF ? Element::kBf16 : Element::kF32;
}

// op(matrix)[i, k] of a column-major matrix.
float At(const void* matrix, const Layout& layout, bool transposed, uint64_t i, uint64_t k) {
  const uint64_t row = transposed ? k : i;
  const uint64_t col = transposed ? i : k;
  return LoadElement(matrix, int64_t(col) * layout.ld + int64_t(row), ElementOf(layout.type));
}

cublasStatus_t Heuristic(cublasLtHandle_t, cublasLtMatmulDesc_t, cublasLtMatrixLayout_t, cublasLtMatrixLayout_t,
                         cublasLtMatrixLayout_t, cublasLtMatrixLayout_t, cublasLtMatmulPreference_t preference, int,
                         cublasLtMatmulHeuristicResult_t results[], int* found) {
  LSTMD_ENTER("cublasLtMatmulAlgoGetHeuristic");
  *found = reinterpret_cast<Preference*>(preference)->workspace >= kWorkspaceNeeded ? 1 : 0;
  results[0] = {};
  results[0].workspaceSize = kWorkspaceNeeded;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t Multiply(cublasLtHandle_t, cublasLtMatmulDesc_t description, const void* alpha, const void* a,
                        cublasLtMatrixLayout_t a_layout, const void* b, cublasLtMatrixLayout_t b_layout,
                        const void* beta, const void* c, cublasLtMatrixLayout_t, void* d,
                        cublasLtMatrixLayout_t d_layout, const cublasLtMatmulAlgo_t* algo, void* workspace,
                        size_t workspace_bytes, cudaStream_t stream) {
  LSTMD_ENTER("cublasLtMatmul");
  const Matmul matmul = *reinterpret_cast<Matmul*>(description);
  const Layout A = *reinterpret_cast<Layout*>(a_layout);
  const Layout B = *reinterpret_cast<Layout*>(b_layout);
  const Layout D = *reinterpret_cast<Layout*>(d_layout);
  const bool ta = matmul.transpose_a == CUBLAS_OP_T;
  const bool tb = matmul.transpose_b == CUBLAS_OP_T;
  const uint64_t m = ta ? A.cols : A.rows;
  const uint64_t k = ta ? A.rows : A.cols;
  const uint64_t n = tb ? B.rows : B.cols;
  const char* wrong = nullptr;
  if (m != D.rows || n != D.cols || k != (tb ? B.cols : B.rows)) wrong = "sizes do not fit";
  if (A.type != B.type || D.type != CUDA_R_32F) wrong = "types do not fit";
  if (algo == nullptr || workspace_bytes < kWorkspaceNeeded || !emulation::IsDeviceRange(workspace, workspace_bytes)) {
    wrong = "no algorithm, or less workspace than it needs";
  }
  if (!emulation::IsDeviceRange(a, A.bytes()) || !emulation::IsDeviceRange(b, B.bytes()) ||
      !emulation::IsDeviceRange(d, D.bytes()) || c != d) {
    wrong = "a matrix reaches out of its allocation";
  }
  if (*static_cast<const float*>(alpha) != 1.0f || *static_cast<const float*>(beta) != 0.0f) wrong = "alpha, beta";
  if (wrong != nullptr) {
    Violate(std::string("cublasLtMatmul: ") + wrong);
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  const auto run = [=] {
    for (uint64_t col = 0; col < n; ++col) {
      for (uint64_t row = 0; row < m; ++row) {
        double sum = 0;
        for (uint64_t i = 0; i < k; ++i) sum += double(At(a, A, ta, row, i)) * At(b, B, !tb, col, i);
        static_cast<float*>(d)[col * D.ld + row] = static_cast<float>(sum);
      }
    }
  };
  return emulation::Enqueue(stream, run) ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INVALID_VALUE;
}

}  // namespace

namespace emulation {

void BindBlas(DeviceApi* api) {
  api->cublasLtCreate = [](cublasLtHandle_t* handle) {
    LSTMD_ENTER("cublasLtCreate");
    return Make<Handle>(handle);
  };
  api->cublasLtDestroy = [](cublasLtHandle_t handle) { return Drop<Handle>(handle); };
  api->cublasLtMatmulDescCreate = [](cublasLtMatmulDesc_t* made, cublasComputeType_t, cudaDataType_t) {
    LSTMD_ENTER("cublasLtMatmulDescCreate");
    return Make<Matmul>(made);
  };
  api->cublasLtMatmulDescDestroy = [](cublasLtMatmulDesc_t gone) { return Drop<Matmul>(gone); };
  api->cublasLtMatmulDescSetAttribute = [](cublasLtMatmulDesc_t description, cublasLtMatmulDescAttributes_t attribute,
                                           const void* value, size_t bytes) {
    LSTMD_ENTER("cublasLtMatmulDescSetAttribute");
    if (bytes != sizeof(cublasOperation_t)) return CUBLAS_STATUS_INVALID_VALUE;
    auto* matmul = reinterpret_cast<Matmul*>(description);
    if (attribute == CUBLASLT_MATMUL_DESC_TRANSA) std::memcpy(&matmul->transpose_a, value, bytes);
    if (attribute == CUBLASLT_MATMUL_DESC_TRANSB) std::memcpy(&matmul->transpose_b, value, bytes);
    return CUBLAS_STATUS_SUCCESS;
  };
  api->cublasLtMatrixLayoutCreate = [](cublasLtMatrixLayout_t* made, cudaDataType_t type, uint64_t rows, uint64_t cols,
                                       int64_t ld) {
    LSTMD_ENTER("cublasLtMatrixLayoutCreate");
    if (ld < int64_t(rows)) {
      Violate("cublasLtMatrixLayoutCreate: a leading dimension below the rows");
      return CUBLAS_STATUS_INVALID_VALUE;
    }
    return Make<Layout>(made, Layout{type, rows, cols, ld});
  };
  api->cublasLtMatrixLayoutDestroy = [](cublasLtMatrixLayout_t gone) { return Drop<Layout>(gone); };
  api->cublasLtMatmulPreferenceCreate = [](cublasLtMatmulPreference_t* made) {
    LSTMD_ENTER("cublasLtMatmulPreferenceCreate");
    return Make<Preference>(made);
  };
  api->cublasLtMatmulPreferenceDestroy = [](cublasLtMatmulPreference_t gone) { return Drop<Preference>(gone); };
  api->cublasLtMatmulPreferenceSetAttribute = [](cublasLtMatmulPreference_t preference,
                                                 cublasLtMatmulPreferenceAttributes_t attribute, const void* value,
                                                 size_t bytes) {
    LSTMD_ENTER("cublasLtMatmulPreferenceSetAttribute");
    if (attribute == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES && bytes == sizeof(size_t)) {
      std::memcpy(&reinterpret_cast<Preference*>(preference)->workspace, value, bytes);
    }
    return CUBLAS_STATUS_SUCCESS;
  };
  api->cublasLtMatmulAlgoGetHeuristic = &Heuristic;
  api->cublasLtMatmul = &Multiply;
}

}  // namespace emulation
}  // namespace lstmd::cudnn
