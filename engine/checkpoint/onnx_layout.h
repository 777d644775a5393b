// SPDX-License-Identifier: Apache-2.0
//
// What a view takes of a tensor that has a time axis, a batch axis and features.
#ifndef LSTMD_ENGINE_CHECKPOINT_ONNX_LAYOUT_H_
#define LSTMD_ENGINE_CHECKPOINT_ONNX_LAYOUT_H_

#include <cstdint>
#include <optional>

#include "engine/checkpoint/onnx_view.h"

namespace lstmd::onnx {

// Where the axes of the tensor are in its source.
struct Layout {
  int64_t offset = 0;
  Atom time;
  Atom batch;
  Axis features;  // in the order that counts
};

enum class Take {
  kAll,       // every step
  kReversed,  // every step, the last one first
  kLast,      // the last step
  kFirst,     // the first step
};

// Every row of the batch and all features, in any order of axes but with the features in theirs. Nothing when `view`
// takes anything else.
std::optional<Take> Match(const View& view, const Layout& layout);

// The same with axes [time, batch, features], for the input of an LSTM node. kAll or kReversed.
std::optional<Take> MatchSequence(const View& view, const Layout& layout);

}  // namespace lstmd::onnx

#endif  // LSTMD_ENGINE_CHECKPOINT_ONNX_LAYOUT_H_
