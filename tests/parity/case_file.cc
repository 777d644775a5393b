// SPDX-License-Identifier: Apache-2.0
#include "tests/parity/case_file.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"

namespace lstmd::parity {
namespace {

using Json = nlohmann::json;

// Reads the fields of an object; remembers the first mistake, and which fields were read.
class Fields {
 public:
  Fields(const Json& object, std::string where) : object_(object), where_(std::move(where)) {
    if (!object.is_object()) Fail("", "want an object");
  }

  const Json& Get(const std::string& name) {
    static const Json kNull;
    seen_.insert(name);
    if (!object_.is_object()) return kNull;
    const auto found = object_.find(name);
    if (found == object_.end()) Fail(name, "is missing");
    return found == object_.end() ? kNull : *found;
  }

  bool Bool(const std::string& name) {
    const Json& value = Get(name);
    if (!value.is_boolean()) Fail(name, "want a boolean");
    return value.is_boolean() && value.get<bool>();
  }

  std::optional<bool> OptionalBool(const std::string& name) {
    return Get(name).is_null() ? std::nullopt : std::optional<bool>(Bool(name));
  }

  std::string Text(const std::string& name, const std::set<std::string>& allowed = {}) {
    const Json& value = Get(name);
    if (!value.is_string()) return Fail(name, "want text"), "";
    std::string text = value.get<std::string>();
    if (!allowed.empty() && allowed.count(text) == 0) Fail(name, absl::StrCat("'", text, "' is not known"));
    return text;
  }

  // "" for null.
  std::string OptionalText(const std::string& name, const std::set<std::string>& allowed = {}) {
    return Get(name).is_null() ? "" : Text(name, allowed);
  }

  uint64_t Number(const std::string& name, uint64_t least, uint64_t most) {
    const Json& value = Get(name);
    const bool good = value.is_number_unsigned() && value.get<uint64_t>() >= least && value.get<uint64_t>() <= most;
    if (!good) Fail(name, absl::StrCat("want an integer from ", least, " to ", most));
    return good ? value.get<uint64_t>() : least;
  }

  std::optional<uint64_t> OptionalNumber(const std::string& name, uint64_t least, uint64_t most) {
    return Get(name).is_null() ? std::nullopt : std::optional<uint64_t>(Number(name, least, most));
  }

  std::optional<double> OptionalReal(const std::string& name) {
    const Json& value = Get(name);
    if (value.is_null()) return std::nullopt;
    if (!value.is_number()) Fail(name, "want a number");
    return value.is_number() ? value.get<double>() : 0;
  }

  std::vector<std::string> Texts(const std::string& name) {
    std::vector<std::string> out;
    const Json& value = Get(name);
    for (const Json& item : value.is_array() ? value : Json::array()) {
      if (item.is_string()) out.push_back(item.get<std::string>());
    }
    if (!value.is_array() || out.size() != value.size()) Fail(name, "want a list of texts");
    return out;
  }

  void Fail(const std::string& name, const std::string& what) {
    if (error_.ok())
      error_ = absl::InvalidArgumentError(absl::StrCat(where_, name.empty() ? "" : ".", name, ": ", what));
  }

  void Fail(const absl::Status& status) {
    if (error_.ok()) error_ = status;
  }

  // After all fields were read.
  absl::Status Finish() {
    for (auto it = object_.begin(); object_.is_object() && it != object_.end(); ++it) {
      if (seen_.count(it.key()) == 0) Fail(it.key(), "unknown field");
    }
    return error_;
  }

  const std::string& where() const { return where_; }

 private:
  const Json& object_;
  std::string where_;
  std::set<std::string> seen_;
  absl::Status error_;
};

std::optional<Reference> ReadReference(const Json& json, const std::string& where, Fields* parent) {
  if (json.is_null()) return std::nullopt;
  Fields fields(json, where);
  Reference ref;
  ref.tensor = fields.Text("tensor");
  ref.index = fields.OptionalNumber("index", 0, 1 << 20);
  ref.offset = fields.OptionalNumber("offset", 0, uint64_t{1} << 40);
  const Json& shape = fields.Get("shape");
  for (const Json& size : shape.is_array() ? shape : Json::array()) {
    if (!size.is_number_unsigned()) fields.Fail("shape", "want a list of sizes");
    ref.shape.push_back(size.is_number_unsigned() ? size.get<uint64_t>() : 0);
  }
  if (shape.is_null() == ref.offset.has_value()) fields.Fail("shape", "goes with offset");
  ref.transpose = fields.Bool("transpose");
  parent->Fail(fields.Finish());
  return ref;
}

void ReadParams(const Json& params, const ModelSpec& spec, Fields* fields, Case* out) {
  if (!params.is_array() || params.size() != spec.num_layers) return fields->Fail("params", "want one entry a layer");
  const std::map<std::string, std::optional<Reference> CellReferences::*> roles = {
      {"w_ih", &CellReferences::w_ih}, {"w_hh", &CellReferences::w_hh}, {"b_ih", &CellReferences::b_ih},
      {"b_hh", &CellReferences::b_hh}, {"w_hr", &CellReferences::w_hr}, {"peep", &CellReferences::peep}};
  for (size_t k = 0; k < params.size(); ++k) {
    if (!params[k].is_array() || params[k].size() != spec.directions()) {
      return fields->Fail("params", "want one entry a direction");
    }
    out->params.emplace_back();
    for (size_t d = 0; d < params[k].size(); ++d) {
      const std::string where = absl::StrCat(fields->where(), ".params[", k, "][", d, "]");
      const Json& one = params[k][d];
      if (!one.is_object()) return fields->Fail("params", "want objects");
      CellReferences cell;
      for (auto it = one.begin(); it != one.end(); ++it) {
        const auto role = roles.find(it.key());
        if (role == roles.end()) return fields->Fail("params", absl::StrCat("unknown weight ", it.key()));
        cell.*role->second = ReadReference(it.value(), absl::StrCat(where, ".", it.key()), fields);
      }
      if (!cell.w_ih || !cell.w_hh) return fields->Fail("params", "w_ih and w_hh are needed");
      if (cell.w_hr.has_value() != (spec.projection_size != 0)) fields->Fail("params", "w_hr goes with proj_size");
      if (cell.peep.has_value() != spec.peepholes) fields->Fail("params", "peep goes with peephole");
      out->params.back().push_back(std::move(cell));
    }
  }
}

std::optional<Activation> ReadActivation(const Json& json, const std::string& where, Fields* parent) {
  Fields fields(json, where);
  const std::string name = fields.Text("fn");
  const auto narrow = [](std::optional<double> v) {
    return v ? std::optional<float>(static_cast<float>(*v)) : std::nullopt;
  };
  const std::optional<float> alpha = narrow(fields.OptionalReal("alpha"));
  const std::optional<float> beta = narrow(fields.OptionalReal("beta"));
  parent->Fail(fields.Finish());
  for (int f = 0; f <= static_cast<int>(Function::kAffine); ++f) {
    std::string ours(Name(static_cast<Function>(f)));
    std::transform(ours.begin(), ours.end(), ours.begin(), [](unsigned char c) { return std::tolower(c); });
    if (ours != name) continue;
    absl::StatusOr<Activation> activation = MakeActivation(static_cast<Function>(f), alpha, beta);
    if (activation.ok()) return *activation;
    parent->Fail(activation.status());
    return std::nullopt;
  }
  parent->Fail("activation_spec", absl::StrCat("unknown function ", name));
  return std::nullopt;
}

void ReadActivations(const Json& list, Fields* fields, ModelSpec* spec) {
  if (!list.is_array() || list.size() != spec->directions()) {
    return fields->Fail("activation_spec", "want one entry a direction");
  }
  for (size_t d = 0; d < list.size(); ++d) {
    Fields one(list[d], absl::StrCat(fields->where(), ".activation_spec[", d, "]"));
    const auto read = [&](const char* name) {
      return ReadActivation(one.Get(name), absl::StrCat(one.where(), ".", name), fields).value_or(Activation{});
    };
    spec->activations[d] = {read("f"), read("g"), read("h")};
    fields->Fail(one.Finish());
  }
  if (list.size() == 1) spec->activations[1] = spec->activations[0];
}

void ReadSpec(Fields* f, ModelSpec* spec) {
  spec->input_size = static_cast<uint32_t>(f->Number("input_size", 1, 65536));
  spec->hidden_size = static_cast<uint32_t>(f->Number("hidden_size", 1, 65536));
  spec->num_layers = static_cast<uint32_t>(f->Number("num_layers", 1, 64));
  spec->projection_size = static_cast<uint32_t>(f->Number("proj_size", 0, 65536));
  const std::string direction = f->Text("direction", {"forward", "reverse", "bidirectional"});
  const bool go_backwards = f->Bool("go_backwards");
  if (f->Bool("bidirectional") != (direction == "bidirectional")) f->Fail("direction", "and bidirectional disagree");
  if (go_backwards && direction != "reverse") f->Fail("go_backwards", "goes with direction reverse");
  spec->direction = direction == "bidirectional" ? Direction::kBidirectional
                    : go_backwards               ? Direction::kGoBackwards
                    : direction == "reverse"     ? Direction::kReverse
                                                 : Direction::kForward;
  const std::map<std::string, MergeMode> modes = {{"", MergeMode::kConcat},
                                                  {"concat", MergeMode::kConcat},
                                                  {"sum", MergeMode::kSum},
                                                  {"mul", MergeMode::kMul},
                                                  {"ave", MergeMode::kAve}};
  const auto mode = modes.find(f->OptionalText("merge_mode", {"concat", "sum", "mul", "ave"}));
  spec->merge_mode = mode == modes.end() ? MergeMode::kConcat : mode->second;
  spec->bias = f->Bool("has_bias");
  spec->clip = static_cast<float>(f->OptionalReal("clip").value_or(0));
  spec->peepholes = f->Bool("peephole");
  spec->input_forget = f->Bool("input_forget");
  const std::string padding = f->OptionalText("padded_output", {"zeros", "repeat_last", "cell_on_padding"});
  spec->padding_output = padding == "repeat_last"       ? PaddingOutput::kRepeatLast
                         : padding == "cell_on_padding" ? PaddingOutput::kCell
                                                        : PaddingOutput::kZeros;
  const std::string zero = f->OptionalText("zero_length_state", {"initial", "zeros"});
  spec->zero_length_state = zero == "zeros" ? ZeroLengthState::kZeros : ZeroLengthState::kInitial;
  ReadActivations(f->Get("activation_spec"), f, spec);
}

void ReadHead(Fields* f, Case* out) {
  const Json& json = f->Get("head");
  if (json.is_null()) return;
  Fields head(json, absl::StrCat(f->where(), ".head"));
  HeadReference reference;
  head.Text("type", {"linear"});
  reference.last = head.Text("take", {"last", "all"}) == "last";
  const std::optional<Reference> weight = ReadReference(head.Get("weight"), head.where() + ".weight", f);
  reference.bias = ReadReference(head.Get("bias"), head.where() + ".bias", f);
  if (!weight) head.Fail("weight", "is missing");
  reference.weight = weight.value_or(Reference{});
  f->Fail(head.Finish());
  out->head = reference;
}

// What is written for people, or says how the layer was made and changes no result.
void ReadText(Fields* f, const std::filesystem::path& folder, Case* out) {
  f->Number("schema_version", 1, 1);
  out->name = f->Text("name");
  if (out->name != folder.filename().string()) f->Fail("name", "is not that of the folder");
  for (const char* name : {"set", "category", "framework_version", "layout_notes", "how"}) f->Text(name);
  for (const char* name : {"runtime", "seed_document", "output_activation"}) f->OptionalText(name);
  f->OptionalBool("unit_forget_bias");
  f->OptionalBool("return_state");
  f->OptionalReal("dropout");
  out->framework = f->Text("framework");
  out->api = f->Text("api");
  out->activation = f->Text("activation");
  out->recurrent_activation = f->Text("recurrent_activation");
  out->files = f->Texts("files");
  for (const std::string& file : out->files) {
    if (!std::filesystem::is_regular_file(folder / file)) f->Fail("files", absl::StrCat("there is no ", file));
  }
}

void ReadRun(Fields* f, Case* out) {
  out->kind = f->Text("kind", {"layer", "cell", "iterated_cell"});
  out->dtype = f->Text("dtype", {"float32", "float16", "bfloat16"});
  out->gate_order = f->Text("gate_order", {"ifgo", "iofg"});
  out->input_layout = f->Text("input_layout", {"TBI", "BTI", "TI", "BI", "I"});
  out->output_layout = f->Text("output_layout", {"TBH", "BTH", "TH", "BH", "H", "TDBH", "BTDH"});
  out->state_layout = f->Text("state_layout", {"LBH", "BLH", "LH", "BH", "H"});
  if (f->Bool("batch_first") != (out->input_layout == "BTI")) f->Fail("batch_first", "and input_layout disagree");
  out->last_only = !f->OptionalBool("return_sequences").value_or(true);
  out->stateful = f->Bool("stateful");
  out->calls = static_cast<int>(f->Number("calls", 1, 2));
  out->initial_state = f->Bool("initial_state");
  out->has_lengths = f->Bool("has_lengths");
  out->has_mask = f->Bool("has_mask");
  out->mask_value = f->OptionalReal("mask_value");
  out->padding_rule = f->OptionalText("padding_rule", {"select", "multiply"});
  out->ort_nan_rule = f->Text("nan_rule", {"ieee", "ort_clip_add_bias"}) != "ieee";
  out->outputs = f->Texts("outputs");
  if (out->outputs.empty()) f->Fail("outputs", "nothing was recorded");
  const auto size = [&](const char* name) {
    const std::optional<uint64_t> value = f->OptionalNumber(name, 0, 1 << 24);
    return value ? std::optional<uint32_t>(static_cast<uint32_t>(*value)) : std::nullopt;
  };
  out->batch_size = size("batch_size");
  out->seq_len = size("seq_len");
  Fields tolerance(f->Get("tolerance_suggestion"), absl::StrCat(f->where(), ".tolerance_suggestion"));
  out->atol = tolerance.OptionalReal("atol").value_or(0);
  out->rtol = tolerance.OptionalReal("rtol").value_or(0);
  f->Fail(tolerance.Finish());
}

}  // namespace

absl::StatusOr<Case> ReadCase(const std::string& folder) {
  const std::filesystem::path path(folder);
  std::ifstream in(path / "case.json");
  if (!in) return absl::InvalidArgumentError(absl::StrCat(folder, ": cannot read case.json"));
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) return absl::InvalidArgumentError(absl::StrCat(folder, ": case.json is not JSON"));
  Case out;
  out.folder = folder;
  Fields fields(json, "case.json");
  ReadText(&fields, path, &out);
  ReadSpec(&fields, &out.spec);
  ReadRun(&fields, &out);
  ReadParams(fields.Get("params"), out.spec, &fields, &out);
  // A Paddle cell made without bias keeps both, as zeros: what counts is what the weights have.
  bool biases = false;
  for (const auto& layer : out.params) {
    for (const CellReferences& cell : layer) biases |= cell.b_ih.has_value() || cell.b_hh.has_value();
  }
  if (out.spec.bias && !biases) fields.Fail("has_bias", "but no bias among the params");
  out.spec.bias = biases;
  ReadHead(&fields, &out);
  if (absl::Status status = fields.Finish(); !status.ok()) return status;
  absl::StatusOr<TensorFile> tensors = ReadSafetensors((path / "tensors.safetensors").string());
  if (!tensors.ok()) return tensors.status();
  out.tensors = *std::move(tensors);
  return out;
}

}  // namespace lstmd::parity
