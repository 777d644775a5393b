// SPDX-License-Identifier: Apache-2.0
//
// What one thread of each kernel does with its element. kernels.cu runs these on the device; the emulation runs them on
// the host through the same block and thread arithmetic (launch_shape.h), so that index logic is tested without a GPU.
#ifndef LSTMD_ENGINE_CUDNN_KERNEL_BODIES_H_
#define LSTMD_ENGINE_CUDNN_KERNEL_BODIES_H_

#include "engine/cudnn/kernel_args.h"
#include "engine/half.h"

namespace lstmd::cudnn {

LSTMD_HD void StoreElement(void* to, int64_t at, Element element, float value) {
  switch (element) {
    case Element::kF32:
      static_cast<float*>(to)[at] = value;
      return;
    case Element::kF16:
      static_cast<uint16_t*>(to)[at] = FloatToF16(value);
      return;
    case Element::kBf16:
      static_cast<uint16_t*>(to)[at] = FloatToBf16(value);
      return;
  }
}

LSTMD_HD float LoadElement(const void* from, int64_t at, Element element) {
  switch (element) {
    case Element::kF32:
      return static_cast<const float*>(from)[at];
    case Element::kF16:
      return F16ToFloat(static_cast<const uint16_t*>(from)[at]);
    case Element::kBf16:
      return Bf16ToFloat(static_cast<const uint16_t*>(from)[at]);
  }
  return 0.0f;
}

// REQUIRES, of every body: 0 <= index < args.count().
LSTMD_HD void Body(const GatherArgs& a, int64_t index) {
  const int32_t width = a.x_size + a.h_size;
  const int64_t b = index / width;
  const int32_t k = static_cast<int32_t>(index % width);
  float value = 0.0f;
  if (k < a.x_size) {
    value = a.x[(a.x_index != nullptr ? a.x_index[b] : b) * a.x_size + k];
  } else if (a.state[b] != nullptr) {
    value = a.state[b][a.h_offset + k - a.x_size];
  }
  StoreElement(a.operand, index, a.element, value);
}

LSTMD_HD void Body(const CellArgs& a, int64_t index) {
  const int32_t H = a.hidden_size;
  const int64_t b = index / H;
  const int32_t j = static_cast<int32_t>(index % H);
  const float* z = a.gates + b * 4 * H;
  const float b_i = a.bias ? a.bias[j] : 0.0f;
  const float b_f = a.bias ? a.bias[H + j] : 0.0f;
  const float b_g = a.bias ? a.bias[2 * H + j] : 0.0f;
  const float b_o = a.bias ? a.bias[3 * H + j] : 0.0f;
  const float p_i = a.peepholes ? a.peepholes[j] : 0.0f;
  const float p_f = a.peepholes ? a.peepholes[H + j] : 0.0f;
  const float p_o = a.peepholes ? a.peepholes[2 * H + j] : 0.0f;
  float c = a.read[b] != nullptr ? a.read[b][a.c_offset + j] : 0.0f;
  const float h = CellElement(a.functions, a.clip, a.input_forget, z[j] + b_i, z[H + j] + b_f, z[2 * H + j] + b_g,
                              z[3 * H + j] + b_o, p_i, p_f, p_o, &c);
  const bool projected = a.unprojected != nullptr;
  if (a.write[b] != nullptr) {
    a.write[b][a.c_offset + j] = c;
    if (!projected) a.write[b][a.h_offset + j] = h;
  }
  if (projected) {
    StoreElement(a.unprojected, index, a.element, h);
  } else {
    a.y[(a.y_index != nullptr ? a.y_index[b] : b) * int64_t{a.y_stride} + a.y_offset + j] = h;
  }
}

LSTMD_HD void Body(const StoreHiddenArgs& a, int64_t index) {
  const int64_t b = index / a.size;
  const int32_t j = static_cast<int32_t>(index % a.size);
  const float h = a.hidden[index];
  if (a.write[b] != nullptr) a.write[b][a.h_offset + j] = h;
  a.y[(a.y_index != nullptr ? a.y_index[b] : b) * int64_t{a.y_stride} + a.y_offset + j] = h;
}

LSTMD_HD void Body(const MoveStateArgs& a, int64_t index) {
  const int32_t per_cell = a.h_size + a.c_size;
  const int32_t b = static_cast<int32_t>(index / (int64_t{a.cells} * per_cell));
  const int32_t rest = static_cast<int32_t>(index % (int64_t{a.cells} * per_cell));
  const int32_t cell = rest / per_cell;
  const int32_t j = rest % per_cell;
  const bool is_h = j < a.h_size;
  const int32_t size = is_h ? a.h_size : a.c_size;
  const int32_t at = is_h ? j : j - a.h_size;
  const int64_t in_row = is_h ? int64_t{cell} * size + at : int64_t{a.cells} * a.h_size + int64_t{cell} * size + at;
  const int64_t in_dense = (int64_t{cell} * a.rows + b) * size + at;
  float value;
  if (a.way == MoveStateArgs::Way::kDenseToRows) {
    value = LoadElement(is_h ? a.dense_h : a.dense_c, in_dense, a.element);
  } else {
    value = a.read[b] != nullptr ? a.read[b][in_row] : 0.0f;
  }
  if (a.way == MoveStateArgs::Way::kRowsToDense) {
    StoreElement(is_h ? a.dense_h : a.dense_c, in_dense, a.element, value);
  } else if (a.write[b] != nullptr) {
    a.write[b][in_row] = value;
  }
}

LSTMD_HD void Body(const MergeArgs& a, int64_t index) {
  const int32_t width = a.out_size();
  const int64_t r = index / width;
  const int32_t j = static_cast<int32_t>(index % width);
  const int64_t f = a.forward_index != nullptr ? a.forward_index[r] : r;
  if (a.backward == nullptr) {
    a.out[index] = f < 0 ? 0.0f : a.forward[f * a.stride + j];
    return;
  }
  const int64_t g = a.backward_index != nullptr ? a.backward_index[r] : r;
  if (a.mode == 0) {
    const bool first = j < a.size;
    const int64_t at = first ? f : g;
    a.out[index] = at < 0 ? 0.0f : first ? a.forward[at * a.stride + j] : a.backward[at * a.stride + j - a.size];
    return;
  }
  const float x = f < 0 ? 0.0f : a.forward[f * a.stride + j];
  const float y = g < 0 ? 0.0f : a.backward[g * a.stride + j];
  a.out[index] = a.mode == 1 ? x + y : (a.mode == 2 ? x * y : (x + y) / 2.0f);
}

LSTMD_HD void Body(const HeadArgs& a, int64_t index) {
  const float bias = a.bias != nullptr ? a.bias[index % a.size] : 0.0f;
  a.y[index] = Activate(a.activation, a.y[index] + bias);
}

LSTMD_HD void Body(const ConvertArgs& a, int64_t index) {
  StoreElement(a.to, index, a.to_element, LoadElement(a.from, index, a.from_element));
}

}  // namespace lstmd::cudnn

#endif  // LSTMD_ENGINE_CUDNN_KERNEL_BODIES_H_
