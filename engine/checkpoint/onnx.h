// SPDX-License-Identifier: Apache-2.0
//
// ONNX files. A graph is followed from its outputs back to its inputs, and every element that a Transpose, Reshape,
// Slice, Gather, Concat … moves is tracked (onnx_view.h), so that what counts is where data goes and not how nodes are
// named or ordered. It is read when it is an LSTM stack: LSTM nodes that feed each other whole outputs in their order
// of time, then at most one dense layer (Gemm, or MatMul and Add) with at most one activation.
//
// What a graph says of shapes beyond that is not kept: a model whose graph ends in the last time step serves all of
// them, and the request chooses (OutputMode).
//
// Semantics are ONNX Runtime's: activations take alpha and beta in turn, the functions with none in the standard
// (Affine, ScaledTanh, ThresholdedRelu) take 0; a sequence of length 0 ends with zero states. Initial states that are
// constants of the graph and not zero become learned ones; as inputs of the graph they come with the request.
#ifndef LSTMD_ENGINE_CHECKPOINT_ONNX_H_
#define LSTMD_ENGINE_CHECKPOINT_ONNX_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/repository.h"

namespace lstmd {

// Reads the file at `path`, and the data files beside it that it names. What is not an LSTM stack is INVALID_ARGUMENT /
// MODEL_FILE naming the node; files that are damaged or lie about sizes are MODEL_FILE too; what does not fit a
// ModelSpec is MODEL_SPEC. Opens no file outside the folder of `path`, allocates no more than a small multiple of what
// the files hold, never throws.
absl::StatusOr<ModelFiles> ReadOnnx(const std::string& path);

// Takes one LSTM node out of any graph, also from within If and Loop: its attributes, and its weights, which must be
// constants. `node` is the node's name or that of one of its outputs; "" when the file has only one LSTM. What is
// around the node is not looked at; initial states that are no constants are left to the requests.
absl::StatusOr<ModelFiles> ReadOnnxNode(const std::string& path, std::string_view node);

// The names of the data files beside the file at `path` that ReadOnnx would look into, each once. MODEL_FILE as
// ReadOnnx, as far as it goes: the data files themselves are not opened.
absl::StatusOr<std::vector<std::string>> OnnxDataFiles(const std::string& path);

// ReadOnnx and ReadOnnxNode of a file's contents. External data is refused.
absl::StatusOr<ModelFiles> ParseOnnx(std::string_view bytes);
absl::StatusOr<ModelFiles> ParseOnnxNode(std::string_view bytes, std::string_view node);

}  // namespace lstmd

#endif  // LSTMD_ENGINE_CHECKPOINT_ONNX_H_
