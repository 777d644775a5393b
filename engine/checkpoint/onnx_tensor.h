// SPDX-License-Identifier: Apache-2.0
//
// Constants of an ONNX file, as numbers.
#ifndef LSTMD_ENGINE_CHECKPOINT_ONNX_TENSOR_H_
#define LSTMD_ENGINE_CHECKPOINT_ONNX_TENSOR_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "engine/checkpoint/onnx.pb.h"

namespace lstmd::onnx {

using Floats = std::shared_ptr<const std::vector<float>>;
using Ints = std::shared_ptr<const std::vector<int64_t>>;

// All types of one kind are read as the widest one that a weight or a shape needs.
bool IsFloat(int32_t data_type);
bool IsInt(int32_t data_type);
// "FLOAT16", "type 42".
std::string TypeName(int32_t data_type);

struct Tensor {
  std::vector<int64_t> dims;
  std::variant<Floats, Ints> values;
};

// Where a file's tensors may lie apart from itself: as plain files in `folder`. "" means nowhere.
struct DataFolder {
  std::string folder;
};

// The name of the data file of a tensor that is not in the model's own. MODEL_FILE unless it is a plain name, which
// cannot lead out of the folder. REQUIRES: tensor.data_location() is 1.
absl::StatusOr<std::string> DataFile(const TensorProto& tensor);

// MODEL_FILE, naming the tensor, when its data does not have exactly the size its dims ask for, or is of a type that
// neither weights nor shapes have. Allocates for data that is there only.
absl::StatusOr<Tensor> Decode(const TensorProto& tensor, const DataFolder& folder);

// A name out of a file, fit for a message: escaped, cut to a readable length, in quotes.
std::string Quoted(std::string_view name);

// "[2, 28, 7]"
std::string ShapeText(const std::vector<int64_t>& dims);

// The status of everything that is wrong with a file: INVALID_ARGUMENT / MODEL_FILE.
absl::Status FileError(absl::string_view message);

}  // namespace lstmd::onnx

#endif  // LSTMD_ENGINE_CHECKPOINT_ONNX_TENSOR_H_
