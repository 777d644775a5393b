// SPDX-License-Identifier: Apache-2.0
//
// Arguments of the kernels: plain data, passed by value. Every pointer is a device pointer. Each kernel handles one
// element per thread, `count()` of them; kernel_bodies.h has what a thread does.
//
// State row: h of every cell, then c of every cell, float32: [cells*hidden_state_size | cells*hidden_size]. A null row
// pointer stands for padding: zeros are read, nothing is written.
#ifndef LSTMD_ENGINE_CUDNN_KERNEL_ARGS_H_
#define LSTMD_ENGINE_CUDNN_KERNEL_ARGS_H_

#include <cstdint>

#include "engine/cudnn/cell_math.h"

namespace lstmd::cudnn {

// Element type of what goes into a matrix product.
enum class Element : uint8_t { kF32, kF16, kBf16 };

// operand[b, :] = [x[x_index[b], :], h of state row b]; b < rows. x_index nullptr: b itself.
struct GatherArgs {
  const float* x = nullptr;             // [any, x_size]
  const int32_t* x_index = nullptr;     // [rows]
  const float* const* state = nullptr;  // [rows] state rows
  int32_t h_offset = 0;                 // of this cell's h in a state row
  int32_t rows = 0;
  int32_t x_size = 0;       // I'
  int32_t h_size = 0;       // P or H
  void* operand = nullptr;  // [rows, x_size + h_size] of `element`
  Element element = Element::kF32;
  LSTMD_HD int64_t count() const { return int64_t{rows} * (x_size + h_size); }
};

// Gates to the new c and h of one cell. Without projection h goes to the state row and to y; with one it goes to
// `unprojected` and StoreHidden follows the second product.
struct CellArgs {
  const float* gates = nullptr;        // [rows, 4H], i f g o, without bias
  const float* bias = nullptr;         // [4H] or nullptr
  const float* peepholes = nullptr;    // [3H] i f o, or nullptr
  const float* const* read = nullptr;  // [rows] state rows to read c from
  float* const* write = nullptr;       // [rows] state rows to write h and c to
  int32_t h_offset = 0;
  int32_t c_offset = 0;
  int32_t rows = 0;
  int32_t hidden_size = 0;  // H
  CellFunctions functions;
  float clip = 0;  // 0: none
  bool input_forget = false;
  float* y = nullptr;                // [any, y_stride]
  const int32_t* y_index = nullptr;  // [rows]; nullptr: b itself
  int32_t y_stride = 0;
  int32_t y_offset = 0;
  void* unprojected = nullptr;  // [rows, H] of `element`, or nullptr
  Element element = Element::kF32;
  LSTMD_HD int64_t count() const { return int64_t{rows} * hidden_size; }
};

// h after a projection to the state rows and to y.
struct StoreHiddenArgs {
  const float* hidden = nullptr;  // [rows, size]
  float* const* write = nullptr;  // [rows]
  int32_t h_offset = 0;
  int32_t rows = 0;
  int32_t size = 0;  // P
  float* y = nullptr;
  const int32_t* y_index = nullptr;
  int32_t y_stride = 0;
  int32_t y_offset = 0;
  LSTMD_HD int64_t count() const { return int64_t{rows} * size; }
};

// Between state rows and a dense [cells, rows, size] pair as cuDNN wants it, or from state rows to state rows.
struct MoveStateArgs {
  enum class Way : uint8_t { kRowsToRows, kRowsToDense, kDenseToRows };
  Way way = Way::kRowsToRows;
  const float* const* read = nullptr;  // [rows]
  float* const* write = nullptr;       // [rows]
  void* dense_h = nullptr;             // [cells, rows, h_size] of `element`
  void* dense_c = nullptr;             // [cells, rows, c_size] of `element`
  Element element = Element::kF32;
  int32_t rows = 0;
  int32_t cells = 0;
  int32_t h_size = 0;  // P or H, of one cell
  int32_t c_size = 0;  // H
  LSTMD_HD int64_t count() const { return int64_t{rows} * cells * (h_size + c_size); }
};

// out[r] = the two directions' outputs of one time step made one. Either index may point to another time step than the
// other; -1: zeros.
struct MergeArgs {
  const float* forward = nullptr;   // rows of `stride` floats, the direction's part at its start
  const float* backward = nullptr;  // nullptr: one direction
  int32_t stride = 0;
  const int32_t* forward_index = nullptr;   // [rows]; nullptr: r itself
  const int32_t* backward_index = nullptr;  // [rows]; likewise
  float* out = nullptr;                     // [rows, size or 2*size]
  int32_t rows = 0;
  int32_t size = 0;  // P or H
  int32_t mode = 0;  // 0 concat, 1 sum, 2 mul, 3 ave
  LSTMD_HD int32_t out_size() const { return backward != nullptr && mode == 0 ? 2 * size : size; }
  LSTMD_HD int64_t count() const { return int64_t{rows} * out_size(); }
};

// y = activation(y + bias) in place.
struct HeadArgs {
  float* y = nullptr;           // [rows, size]
  const float* bias = nullptr;  // [size] or nullptr
  int32_t rows = 0;
  int32_t size = 0;  // O
  DeviceActivation activation;
  LSTMD_HD int64_t count() const { return int64_t{rows} * size; }
};

// float32 to or from an element type.
struct ConvertArgs {
  const void* from = nullptr;
  void* to = nullptr;
  Element from_element = Element::kF32;
  Element to_element = Element::kF32;
  int64_t size = 0;
  LSTMD_HD int64_t count() const { return size; }
};

}  // namespace lstmd::cudnn

#endif  // LSTMD_ENGINE_CUDNN_KERNEL_ARGS_H_
