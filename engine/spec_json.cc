// SPDX-License-Identifier: Apache-2.0
//
// The JSON form of lstmd.v1.ModelSpec as protobuf's JSON mapping has it, without protobuf: fields by their name or its
// lowerCamelCase, enums by name, null and zero values read as absent. Stricter than the mapping: unknown fields,
// duplicates, and numbers or enums in any other form are errors.
#include <charconv>
#include <cmath>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/errors.h"
#include "engine/json.h"
#include "engine/spec.h"
#include "engine/spec_draft.h"

namespace lstmd {
namespace {

using Json = nlohmann::json;

constexpr JsonLimits kLimits = {/*max_bytes=*/1 << 20, /*max_depth=*/16, /*max_values=*/1000};

absl::string_view View(std::string_view text) { return {text.data(), text.size()}; }

std::string LowerCamelCase(std::string_view name) {
  std::string camel;
  for (size_t i = 0; i < name.size(); ++i) {
    if (name[i] == '_' && i + 1 < name.size()) {
      camel += absl::ascii_toupper(static_cast<unsigned char>(name[++i]));
    } else {
      camel += name[i];
    }
  }
  return camel;
}

// For messages: what stands there, cut short.
std::string Show(const Json& value) {
  std::string text = value.dump(-1, ' ', true, Json::error_handler_t::replace);
  if (text.size() > 40) text = text.substr(0, 37) + "...";
  return text;
}

// The fields of one message. The first error stays; after it every read does nothing.
class Message {
 public:
  Message(const Json& object, std::string path, absl::Status* status)
      : object_(object), path_(std::move(path)), status_(*status) {
    if (!object.is_object()) Fail("", absl::StrCat("got ", Show(object), ", want an object"));
  }

  bool ok() const { return status_.ok(); }
  std::string Path(std::string_view name) const {
    return path_.empty() ? std::string(name) : absl::StrCat(path_, ".", View(name));
  }
  absl::Status* status() { return &status_; }

  void Fail(std::string_view name, std::string_view what) {
    if (!status_.ok()) return;
    const std::string field = name.empty() ? path_ : Path(name);
    const absl::string_view shown = field.empty() ? absl::string_view("spec") : absl::string_view(field);
    status_ = InvalidArgument("MODEL_SPEC", absl::StrCat(shown, ": ", View(what))).Field(field);
  }

  // nullptr when the field is absent or null.
  const Json* Find(std::string_view name) {
    if (!ok()) return nullptr;
    const Json* found = nullptr;
    for (const std::string& spelling : std::set<std::string>{std::string(name), LowerCamelCase(name)}) {
      known_.insert(spelling);
      const auto it = object_.find(spelling);
      if (it == object_.end()) continue;
      if (found != nullptr) {
        Fail(name, "is there twice, in both spellings");
        return nullptr;
      }
      found = &*it;
    }
    return found == nullptr || found->is_null() ? nullptr : found;
  }

  bool Read(std::string_view name, bool* value) {
    const Json* json = Find(name);
    if (json == nullptr) return false;
    if (!json->is_boolean()) {
      Fail(name, absl::StrCat("got ", Show(*json), ", want true or false"));
      return false;
    }
    *value = json->get<bool>();
    return true;
  }

  bool Read(std::string_view name, uint32_t* value) {
    const Json* json = Find(name);
    if (json == nullptr) return false;
    // 5.0 is an integer to JSON, and to protobuf.
    const double number = json->is_number() ? json->get<double>() : -1;
    if (!(number >= 0 && number <= std::numeric_limits<uint32_t>::max() && number == std::floor(number))) {
      Fail(name, absl::StrCat("got ", Show(*json), ", want an integer from 0"));
      return false;
    }
    *value = static_cast<uint32_t>(number);
    return true;
  }

  bool Read(std::string_view name, float* value) {
    const Json* json = Find(name);
    if (json == nullptr) return false;
    const double number = json->is_number() ? json->get<double>() : std::numeric_limits<double>::infinity();
    if (!(std::abs(number) <= std::numeric_limits<float>::max())) {
      Fail(name, absl::StrCat("got ", Show(*json), ", want a finite number"));
      return false;
    }
    *value = static_cast<float>(number);
    return true;
  }

  // `prefix` + "UNSPECIFIED" reads as absent. Values are tried until they have no name.
  template <typename E>
  bool ReadEnum(std::string_view name, std::string_view prefix, E* value) {
    const Json* json = Find(name);
    if (json == nullptr) return false;
    std::vector<std::string> allowed;
    const std::string text = json->is_string() ? json->get<std::string>() : "";
    if (text == absl::StrCat(View(prefix), "UNSPECIFIED")) return false;
    for (int i = 0; !Name(static_cast<E>(i)).empty(); ++i) {
      if (text == Name(static_cast<E>(i))) {
        *value = static_cast<E>(i);
        return true;
      }
      allowed.emplace_back(Name(static_cast<E>(i)));
    }
    Fail(name, absl::StrCat("got ", Show(*json), ", want one of ", absl::StrJoin(allowed, ", ")));
    return false;
  }

  // REQUIRES: every field was looked for.
  void RejectUnknown() {
    for (const auto& [key, value] : object_.items()) {
      if (known_.count(key) == 0) return Fail(key, "there is no such field");
    }
  }

 private:
  const Json& object_;
  const std::string path_;
  absl::Status& status_;
  std::set<std::string> known_;
};

void ReadActivation(Message& parent, std::string_view name, Function default_function, Activation* activation) {
  const Json* json = parent.Find(name);
  if (json == nullptr) return;
  Message message(*json, parent.Path(name), parent.status());
  Function function = default_function;
  float alpha = 0, beta = 0;
  message.ReadEnum("function", "FUNCTION_", &function);
  const bool has_alpha = message.Read("alpha", &alpha);
  const bool has_beta = message.Read("beta", &beta);
  message.RejectUnknown();
  if (!message.ok()) return;
  absl::StatusOr<Activation> made = MakeActivation(function, has_alpha ? std::optional<float>(alpha) : std::nullopt,
                                                   has_beta ? std::optional<float>(beta) : std::nullopt);
  if (made.ok()) {
    *activation = *made;
  } else {
    const std::string prefix = absl::StrCat(parent.Path(name), ".");
    *parent.status() = PrefixMessage(PrefixField(made.status(), prefix), prefix);
  }
}

// A message that is there replaces all three: what it leaves out is at the default.
bool ReadActivations(Message& parent, std::string_view name, Activations* activations) {
  const Json* json = parent.Find(name);
  if (json == nullptr) return false;
  *activations = Activations();
  Message message(*json, parent.Path(name), parent.status());
  ReadActivation(message, "gate", Function::kSigmoid, &activations->gate);
  ReadActivation(message, "cell", Function::kTanh, &activations->cell);
  ReadActivation(message, "output", Function::kTanh, &activations->output);
  message.RejectUnknown();
  return true;
}

void ReadHead(Message& parent, std::optional<Head>* head) {
  const Json* json = parent.Find("head");
  if (json == nullptr) return;
  Message message(*json, parent.Path("head"), parent.status());
  *head = Head();
  (*head)->bias = false;  // the field has no presence: absent is false
  message.Read("output_size", &(*head)->output_size);
  message.Read("bias", &(*head)->bias);
  ReadActivation(message, "activation", Function::kLinear, &(*head)->activation);
  message.RejectUnknown();
}

void ReadSpec(Message& message, SpecDraft* draft) {
  ModelSpec& spec = draft->spec;
  // Absent, a size is told by the weights; a 0 that somebody wrote is a mistake.
  for (const auto& [name, size] : {std::pair("input_size", &spec.input_size), {"hidden_size", &spec.hidden_size}}) {
    if (message.Read(name, size) && *size == 0) message.Fail(name, "got 0, want 1 to 65536");
  }
  if (message.Read("num_layers", &spec.num_layers)) {
    draft->num_layers_given = spec.num_layers != 0;
    if (spec.num_layers == 0) spec.num_layers = 1;
  }
  draft->direction_given |= message.ReadEnum("direction", "DIRECTION_", &spec.direction);
  message.ReadEnum("merge_mode", "MERGE_MODE_", &spec.merge_mode);
  draft->projection_given |= message.Read("projection_size", &spec.projection_size);
  draft->bias_given |= message.Read("bias", &spec.bias);
  const bool activations_given = ReadActivations(message, "activations", &spec.activations[0]);
  draft->activations_given |= activations_given;
  draft->reverse_activations_given |= ReadActivations(message, "reverse_activations", &spec.activations[1]);
  if (activations_given && !draft->reverse_activations_given) spec.activations[1] = spec.activations[0];
  draft->peepholes_given |= message.Read("peepholes", &spec.peepholes);
  message.Read("clip", &spec.clip);
  message.Read("input_forget", &spec.input_forget);
  ReadHead(message, &spec.head);
  message.ReadEnum("precision", "PRECISION_", &spec.precision);
  draft->learned_initial_state_given |= message.Read("learned_initial_state", &spec.learned_initial_state);
  message.ReadEnum("padding_output", "PADDING_OUTPUT_", &spec.padding_output);
  message.ReadEnum("zero_length_state", "ZERO_LENGTH_STATE_", &spec.zero_length_state);
  message.RejectUnknown();
}

// The number with the fewest digits that reads back as `value`: 0.2, not 0.20000000298.
double Shortest(float value) {
  char digits[32];
  const auto end = std::to_chars(digits, digits + sizeof digits, value).ptr;
  double wide = 0;
  std::from_chars(digits, end, wide);
  return static_cast<float>(wide) == value ? wide : value;
}

using OrderedJson = nlohmann::ordered_json;

OrderedJson Write(const Activation& activation) {
  OrderedJson json;
  json["function"] = Name(activation.function);
  const absl::StatusOr<Activation> standard = MakeActivation(activation.function);
  if (!standard.ok() || activation.alpha != standard->alpha) json["alpha"] = Shortest(activation.alpha);
  // Where beta is a parameter, one is told with the other.
  if (!standard.ok() || activation.beta != standard->beta) json["beta"] = Shortest(activation.beta);
  if (activation.function == Function::kThresholdedRelu) json.erase("beta");
  return json;
}

OrderedJson Write(const Activations& activations) {
  const Activations standard;
  OrderedJson json = OrderedJson::object();
  if (!(activations.gate == standard.gate)) json["gate"] = Write(activations.gate);
  if (!(activations.cell == standard.cell)) json["cell"] = Write(activations.cell);
  if (!(activations.output == standard.output)) json["output"] = Write(activations.output);
  return json;
}

OrderedJson Write(const Head& head) {
  OrderedJson json;
  json["output_size"] = head.output_size;
  if (head.bias) json["bias"] = true;
  if (!(head.activation == Activation{Function::kLinear})) json["activation"] = Write(head.activation);
  return json;
}

}  // namespace

absl::Status ReadSpecJson(std::string_view json, SpecDraft* draft) {
  const absl::StatusOr<Json> parsed = ParseJson(json, kLimits);
  if (!parsed.ok()) return InvalidArgument("MODEL_SPEC", absl::StrCat("spec: ", parsed.status().message()));
  absl::Status status;
  Message message(*parsed, "", &status);
  SpecDraft read = *draft;
  ReadSpec(message, &read);
  if (status.ok()) *draft = read;
  return status;
}

absl::StatusOr<ModelSpec> ParseSpecJson(std::string_view json) {
  SpecDraft draft;
  absl::Status status = ReadSpecJson(json, &draft);
  if (!status.ok()) return status;
  return Finish(draft);
}

absl::StatusOr<ModelSpec> Finish(const SpecDraft& draft) {
  absl::Status status = Validate(draft.spec);
  if (status.ok() && draft.reverse_activations_given && draft.spec.direction != Direction::kBidirectional) {
    status = InvalidArgument("MODEL_SPEC", "reverse_activations: only with DIRECTION_BIDIRECTIONAL")
                 .Field("reverse_activations");
  }
  if (!status.ok()) return status;
  return draft.spec;
}

std::string SpecToJson(const ModelSpec& spec) {
  const ModelSpec standard;
  OrderedJson json;
  json["input_size"] = spec.input_size;
  json["hidden_size"] = spec.hidden_size;
  if (spec.num_layers != 1) json["num_layers"] = spec.num_layers;
  if (spec.direction != standard.direction) json["direction"] = Name(spec.direction);
  if (spec.merge_mode != standard.merge_mode) json["merge_mode"] = Name(spec.merge_mode);
  if (spec.projection_size != 0) json["projection_size"] = spec.projection_size;
  if (!spec.bias) json["bias"] = false;
  if (!(spec.activations[0] == Activations())) json["activations"] = Write(spec.activations[0]);
  if (spec.directions() == 2 && !(spec.activations[1] == spec.activations[0])) {
    json["reverse_activations"] = Write(spec.activations[1]);
  }
  if (spec.peepholes) json["peepholes"] = true;
  if (spec.clip != 0) json["clip"] = Shortest(spec.clip);
  if (spec.input_forget) json["input_forget"] = true;
  if (spec.head) json["head"] = Write(*spec.head);
  if (spec.precision != standard.precision) json["precision"] = Name(spec.precision);
  if (spec.learned_initial_state) json["learned_initial_state"] = true;
  if (spec.padding_output != standard.padding_output) json["padding_output"] = Name(spec.padding_output);
  if (spec.zero_length_state != standard.zero_length_state) {
    json["zero_length_state"] = Name(spec.zero_length_state);
  }
  return json.dump();
}

}  // namespace lstmd
