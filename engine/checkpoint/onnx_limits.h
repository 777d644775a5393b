// SPDX-License-Identifier: Apache-2.0
//
// What parsing a file may cost. An empty node is two bytes in a file and a hundred times that in memory, so the parts
// are counted before they are parsed.
#ifndef LSTMD_ENGINE_CHECKPOINT_ONNX_LIMITS_H_
#define LSTMD_ENGINE_CHECKPOINT_ONNX_LIMITS_H_

#include <cstdint>
#include <string_view>

namespace lstmd::onnx {

// Graphs of whole language models stay below a tenth of it; as empty nodes it is some 200 MiB.
inline constexpr int64_t kMostItems = int64_t{1} << 20;

// Whether `bytes`, a ModelProto, has at most kMostItems nodes, names, attributes, tensors and shapes in all its graphs.
// True also for bytes that are damaged, as far as they can be read: parsing says so.
bool IsModest(std::string_view bytes);

}  // namespace lstmd::onnx

#endif  // LSTMD_ENGINE_CHECKPOINT_ONNX_LIMITS_H_
