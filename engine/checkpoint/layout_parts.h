// SPDX-License-Identifier: Apache-2.0
//
// Between a file's tensor names and canonical weights: the stack, which says what each tensor is. The layouts find
// stacks by name (layout_names.cc, layout_keras.cc); BuildCells makes weights of them (layout_build.cc).
#ifndef LSTMD_ENGINE_CHECKPOINT_LAYOUT_PARTS_H_
#define LSTMD_ENGINE_CHECKPOINT_LAYOUT_PARTS_H_

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/checkpoint/safetensors.h"
#include "engine/errors.h"
#include "engine/spec_draft.h"
#include "engine/weights.h"

namespace lstmd {

// The arrays of one cell as sources have them. A source has either kBias or both of kBiasIh and kBiasHh.
enum class Role : uint8_t { kW, kR, kBias, kBiasIh, kBiasHh, kProjection, kPeepholes };
inline constexpr size_t kRoles = 7;

// One tensor of a file and its meaning. Rows (columns where transposed) are in gate order i, f, g, o everywhere.
struct Part {
  const std::string* name = nullptr;  // nullptr: the file has none
  const TensorView* tensor = nullptr;
  bool transposed = false;
};

using CellParts = std::array<Part, kRoles>;

// The tensors of one LSTM of a file. Names and views point into the file.
struct Stack {
  std::string layout;                                        // "torch"
  std::string prefix;                                        // before every name: "model.lstm."
  std::map<std::pair<uint32_t, uint32_t>, CellParts> cells;  // by layer, direction
  // What a tensor that is not there would be called.
  std::function<std::string(uint32_t layer, uint32_t direction, Role role)> name_of;
};

// The tensors that are still without a meaning.
using Names = std::set<std::string>;

// "'a', 'b', 'c' and 4 more", for messages.
std::string List(const std::vector<std::string>& names);

// Every stack whose names are of one of `layouts` ("canonical", "torch", "paddle"), without the doubles that Paddle
// keeps. A tensor that is of a stack, or such a double, leaves `unused`.
std::vector<Stack> FindNamedStacks(const TensorFile& file, const std::set<std::string_view>& layouts, Names* unused);

// The stack of a Keras model: all its LSTM layers in order. `layers` gives the order by name where the names do not
// tell ("lstm", "lstm_1", … do); empty: by the names. No cells in it if there is no LSTM.
absl::StatusOr<Stack> FindKerasStack(const TensorFile& file, const std::vector<std::string>& layers, Names* unused);

// Checks the stack against what `draft` has, and completes `draft` by what the tensors show.
absl::Status CompleteSpec(const Stack& stack, SpecDraft* draft);

// The stack's cells in canonical form. REQUIRES: spec is valid. INVALID_ARGUMENT / MODEL_WEIGHTS naming the tensor, got
// and want where a shape does not fit.
absl::StatusOr<std::vector<CellWeights>> BuildCells(const TensorFile& file, const Stack& stack, const ModelSpec& spec);

// One vector for all cells: the only tensor of shape [n, 1, 1] (or [n], if the layout was `named`) whose name ends in
// `w` or `weight`. nullptr: none.
const std::string* FindFlatTensor(const TensorFile& file, bool named, const Names& unused);

// `layout`: "mindspore_flat", "mindspore_ops_cpu", or "" for the one that the size fits. REQUIRES: spec is valid.
absl::StatusOr<std::vector<CellWeights>> BuildFlat(const TensorFile& file, const std::string& name,
                                                   std::string_view layout, const ModelSpec& spec);

// INVALID_ARGUMENT / MODEL_WEIGHTS.
inline absl::Status WeightsError(std::string_view what) { return InvalidArgument("MODEL_WEIGHTS", what); }

// [rows, columns] of a matrix in the canonical sense; columns 0: a vector; both 0: any other rank.
std::pair<uint64_t, uint64_t> CanonicalShape(const Part& part);

// The part as a canonical array. MODEL_WEIGHTS unless it is [rows, columns], or [rows] where columns is 0.
absl::StatusOr<FloatArray> ReadPart(const TensorFile& file, const Part& part, uint64_t rows, uint64_t columns,
                                    std::string_view meaning);

// The learned initial state: tensors h0 [L*D, P or H] and c0 [L*D, H] under any path, ones among the dimensions
// allowed. Where the spec leaves it open, they are it if they are there. REQUIRES: the sizes in `draft` are settled.
absl::Status ReadInitialState(const TensorFile& file, bool open, Names* unused, SpecDraft* draft, Weights* weights);

// The head: MODULE.weight [O, features] ([features, O] in layout paddle, unless the module is called head) and
// MODULE.bias [O], or MODULE/kernel [features, O] and MODULE/bias in layout keras.
// Where the spec asks for one, the only pair that fits it, by preference "head"; where it leaves it open, the only pair
// whose module is called as final layers are (head, fc, linear, dense …). REQUIRES: as above.
absl::Status ReadHead(const TensorFile& file, std::string_view layout, bool open, Names* unused, SpecDraft* draft,
                      Weights* weights);

}  // namespace lstmd

#endif  // LSTMD_ENGINE_CHECKPOINT_LAYOUT_PARTS_H_
