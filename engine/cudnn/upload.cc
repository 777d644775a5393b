// SPDX-License-Identifier: Apache-2.0
#include "engine/cudnn/upload.h"

#include <algorithm>
#include <cstring>

namespace lstmd::cudnn {
namespace {

constexpr size_t kAlign = 256;

size_t Place(size_t* end, size_t bytes) {
  const size_t at = *end;
  *end = (at + bytes + kAlign - 1) / kAlign * kAlign;
  return at;
}

}  // namespace

UploadLayout::UploadLayout(const ModelSpec& spec, int32_t total, int32_t batch, int32_t wanted)
    : total_(total), batch_(batch), wanted_(wanted), bytes_(0) {
  x_ = Place(&bytes_, size_t(total) * spec.input_size * sizeof(float));
  slots_ = Place(&bytes_, size_t(batch) * sizeof(float*));
  stage_ = Place(&bytes_, size_t(batch) * sizeof(float*));
  reversed_ = Place(&bytes_, size_t(total) * sizeof(int32_t));
  forward_ = Place(&bytes_, size_t(wanted) * sizeof(int32_t));
  backward_ = Place(&bytes_, size_t(wanted) * sizeof(int32_t));
}

void UploadLayout::Fill(const ModelSpec& spec, const BatchPlan& plan, const CudnnStatePool& pool, float* stage,
                        int32_t row_size, char* host) const {
  const size_t I = spec.input_size;
  auto* x = reinterpret_cast<float*>(host + x_);
  auto* slots = reinterpret_cast<float**>(host + slots_);
  auto* stage_rows = reinterpret_cast<float**>(host + stage_);
  for (int32_t b = 0; b < batch_; ++b) {
    stage_rows[b] = stage + size_t(b) * row_size;
    slots[b] = b < plan.batch() ? pool.row(plan.rows[b].row->slot) : nullptr;
    if (b >= plan.batch()) continue;
    const PlannedRow& planned = plan.rows[b];
    for (size_t s = 0; s < planned.valid.size(); ++s) {
      std::memcpy(x + (plan.offset[s] + b) * I, planned.row->input + planned.valid[s] * I, I * sizeof(float));
    }
  }
  std::fill(x + plan.total() * I, x + total_ * I, 0.0f);
  auto* reversed = reinterpret_cast<int32_t*>(host + reversed_);
  std::copy(plan.reversed.begin(), plan.reversed.end(), reversed);
  for (int32_t i = plan.total(); i < total_; ++i) reversed[i] = i;
  auto* forward = reinterpret_cast<int32_t*>(host + forward_);
  auto* backward = reinterpret_cast<int32_t*>(host + backward_);
  const int32_t planned_wanted = static_cast<int32_t>(plan.wanted.size());
  for (int32_t i = 0; i < wanted_; ++i) {
    forward[i] = i < planned_wanted ? plan.wanted[i].forward : kZeros;
    backward[i] = i < planned_wanted ? plan.wanted[i].backward : kZeros;
  }
}

BatchUpload UploadLayout::At(char* device) const {
  BatchUpload at;
  at.x = reinterpret_cast<const float*>(device + x_);
  at.slots = reinterpret_cast<float* const*>(device + slots_);
  at.read = reinterpret_cast<const float* const*>(device + slots_);
  at.stage = reinterpret_cast<float* const*>(device + stage_);
  at.reversed = reinterpret_cast<const int32_t*>(device + reversed_);
  at.wanted_forward = reinterpret_cast<const int32_t*>(device + forward_);
  at.wanted_backward = reinterpret_cast<const int32_t*>(device + backward_);
  return at;
}

}  // namespace lstmd::cudnn
