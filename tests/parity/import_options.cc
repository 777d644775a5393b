// SPDX-License-Identifier: Apache-2.0
#include "tests/parity/import_options.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace lstmd::parity {

std::vector<std::string> Checkpoints(const Case& c) {
  std::vector<std::string> out;
  for (const std::string& file : c.files) {
    if (absl::StartsWith(file, "model.")) out.push_back(file);
  }
  return out;
}

std::vector<std::string> ImportOptions(const Case& c, const std::string& file) {
  std::vector<std::string> out;
  const ModelSpec& spec = c.spec;
  if (file == "model.weights.h5") {
    out = {"--activation",         c.activation,      "--recurrent-activation",
           c.recurrent_activation, "--keras-version", c.framework == "keras" ? "3" : "2"};
    if (spec.direction == Direction::kBidirectional) {
      std::string mode(Name(spec.merge_mode));
      mode = mode.substr(std::string("MERGE_MODE_").size());
      std::transform(mode.begin(), mode.end(), mode.begin(), [](unsigned char x) { return std::tolower(x); });
      out.insert(out.end(), {"--merge-mode", mode});
    }
    if (spec.direction == Direction::kGoBackwards) out.insert(out.end(), {"--direction", "go_backwards"});
  }
  if (c.framework == "paddle" && spec.direction == Direction::kReverse)
    out.insert(out.end(), {"--direction", "reverse"});
  if (file == "model.ckpt" && absl::StrContains(c.api, "(before")) {  // one vector without sizes
    out.insert(out.end(), {"--input-size", absl::StrCat(spec.input_size), "--hidden-size",
                           absl::StrCat(spec.hidden_size), "--num-layers", absl::StrCat(spec.num_layers)});
    if (spec.direction == Direction::kBidirectional) out.push_back("--bidirectional");
    if (!spec.bias) out.push_back("--no-bias");
  }
  return out;
}

}  // namespace lstmd::parity
