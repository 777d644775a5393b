// SPDX-License-Identifier: Apache-2.0
//
// One vector for everything. It tells no sizes: the spec must. Gate order i, f, g, o in both forms, so every block of
// four gates is canonical as it stands and nothing is copied but summed biases.
//   mindspore_flat     nn.LSTM and LSTMCell before MindSpore 1.6, and cuDNN's packing: for each cell W then R; after
//   all
//                      of them, for each cell bW then bR.
//   mindspore_ops_cpu  ops.LSTM on the CPU: W of all cells, R of all cells, then one bias of each.
#include "absl/strings/str_cat.h"
#include "engine/checkpoint/layout_parts.h"
#include "engine/errors.h"

namespace lstmd {
namespace {

constexpr std::string_view kPacked = "mindspore_flat";
constexpr std::string_view kOpsCpu = "mindspore_ops_cpu";

uint64_t Columns(const ModelSpec& spec, uint32_t cell) { return spec.layer_input_size(cell / spec.directions()); }

uint64_t Size(const ModelSpec& spec, uint64_t biases) {
  uint64_t size = 0;
  for (uint32_t k = 0; k < spec.cells(); ++k) {
    size += 4 * uint64_t{spec.hidden_size} * (Columns(spec, k) + spec.hidden_size + (spec.bias ? biases : 0));
  }
  return size;
}

// Takes slices off a vector, which they share.
class Slices {
 public:
  explicit Slices(FloatArray all) : all_(std::make_shared<const FloatArray>(std::move(all))) {}
  FloatArray Next(uint64_t size) {
    offset_ += size;
    return FloatArray(all_->span().subspan(offset_ - size, size), all_);
  }

 private:
  const std::shared_ptr<const FloatArray> all_;
  uint64_t offset_ = 0;
};

std::vector<CellWeights> SplitPacked(const ModelSpec& spec, Slices slices) {
  const uint64_t rows = 4 * uint64_t{spec.hidden_size};
  std::vector<CellWeights> cells(spec.cells());
  for (uint32_t k = 0; k < spec.cells(); ++k) {
    cells[k].w = slices.Next(rows * Columns(spec, k));
    cells[k].r = slices.Next(rows * spec.hidden_size);
  }
  for (CellWeights& cell : cells) {
    if (!spec.bias) continue;
    const FloatArray input = slices.Next(rows);
    const FloatArray recurrent = slices.Next(rows);
    std::vector<float> sum(rows);
    for (uint64_t i = 0; i < rows; ++i) sum[i] = input[i] + recurrent[i];
    cell.bias = std::move(sum);
  }
  return cells;
}

std::vector<CellWeights> SplitOpsCpu(const ModelSpec& spec, Slices slices) {
  const uint64_t rows = 4 * uint64_t{spec.hidden_size};
  std::vector<CellWeights> cells(spec.cells());
  for (uint32_t k = 0; k < spec.cells(); ++k) cells[k].w = slices.Next(rows * Columns(spec, k));
  for (CellWeights& cell : cells) cell.r = slices.Next(rows * spec.hidden_size);
  for (CellWeights& cell : cells) {
    if (spec.bias) cell.bias = slices.Next(rows);
  }
  return cells;
}

}  // namespace

const std::string* FindFlatTensor(const TensorFile& file, bool named, const Names& unused) {
  const std::string* found = nullptr;
  for (const auto& [name, tensor] : file.tensors) {
    if (unused.count(name) == 0) continue;
    const std::string_view last = std::string_view(name).substr(name.find_last_of("./") + 1);
    if (last != "w" && last != "weight") continue;
    const bool flat = (named && tensor.shape.size() == 1) ||
                      (tensor.shape.size() == 3 && tensor.shape[1] == 1 && tensor.shape[2] == 1);
    if (!flat) continue;
    if (found != nullptr) return nullptr;
    found = &name;
  }
  return found;
}

absl::StatusOr<std::vector<CellWeights>> BuildFlat(const TensorFile& file, const std::string& name,
                                                   std::string_view layout, const ModelSpec& spec) {
  const TensorView& tensor = file.tensors.at(name);
  const uint64_t packed = Size(spec, 2);
  const uint64_t ops_cpu = Size(spec, 1);
  if (spec.projection_size != 0 || spec.peepholes) {
    return InvalidArgument("MODEL_SPEC",
                           absl::StrCat("tensor '", name, "': a flat vector has no place for projections or peepholes"))
        .Field(spec.peepholes ? "peepholes" : "projection_size");
  }
  if (layout.empty()) {
    if (packed == ops_cpu && spec.cells() > 1 && tensor.elements == packed) {
      return InvalidArgument("MODEL_WEIGHTS",
                             absl::StrCat("tensor '", name, "' without biases may be mindspore_flat ",
                                          "or mindspore_ops_cpu: say which in the metadata key ", "'layout'"));
    }
    layout = tensor.elements == ops_cpu && packed != ops_cpu ? kOpsCpu : kPacked;
  }
  const uint64_t want = layout == kOpsCpu ? ops_cpu : packed;
  if (tensor.elements != want) {
    return InvalidArgument("MODEL_WEIGHTS",
                           absl::StrCat("tensor '", name, "': got ", tensor.elements, " values, want ", want, " for ",
                                        spec.input_size, " to ", spec.hidden_size, ", ", spec.num_layers, " layers, ",
                                        spec.directions(), " directions, ", spec.bias ? "with" : "without", " bias"));
  }
  absl::StatusOr<FloatArray> values = Floats(file, tensor);
  if (!values.ok()) return PrefixMessage(values.status(), absl::StrCat("tensor '", name, "': "));
  return layout == kOpsCpu ? SplitOpsCpu(spec, Slices(*std::move(values)))
                           : SplitPacked(spec, Slices(*std::move(values)));
}

}  // namespace lstmd
