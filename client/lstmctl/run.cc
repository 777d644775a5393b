// SPDX-License-Identifier: Apache-2.0
//
// lstmctl run: whole sequences, without a session.
#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/lstmctl/command.h"
#include "client/lstmctl/npy.h"
#include "client/lstmctl/print.h"
#include "client/lstmctl/progress.h"
#include "client/lstmctl/rows.h"

namespace lstmd::client {
namespace {

// Batches are sent in parts of about this size.
constexpr size_t kPartBytes = 4 << 20;

struct RunArguments {
  std::string model;
  std::string input;
  std::string output = "-";
  std::string outputs = "all";
  std::vector<std::string> columns;
  std::vector<uint32_t> lengths;
  int64_t version = 0;
  bool state = false;
  StateFiles initial;
};

absl::StatusOr<Array> ReadInput(const RunArguments& arguments) {
  if (!IsNpyPath(arguments.input)) return ReadRows(arguments.input, arguments.columns);
  absl::StatusOr<Array> input = ReadNpy(arguments.input);
  if (!input.ok()) return input.status();
  if (input->shape.size() == 1) input->shape.push_back(1);
  if (input->shape.size() != 2 && input->shape.size() != 3) {
    return absl::InvalidArgumentError(absl::StrCat(arguments.input, ": got shape [", absl::StrJoin(input->shape, ", "),
                                                   "], want [T, I] or [N, T, I]"));
  }
  return input;
}

// Appends `part` to `whole` along `axis`; the other dimensions are the same.
void Concatenate(const Array& part, size_t axis, Array* whole) {
  if (whole->shape.empty()) {
    *whole = part;
    return;
  }
  size_t outer = 1;
  for (size_t i = 0; i < axis; ++i) outer *= static_cast<size_t>(part.shape[i]);
  const size_t old_run = whole->values.size() / outer;
  const size_t new_run = part.values.size() / outer;
  std::vector<float> values;
  values.reserve(whole->values.size() + part.values.size());
  for (size_t i = 0; i < outer; ++i) {
    values.insert(values.end(), whole->values.begin() + i * old_run, whole->values.begin() + (i + 1) * old_run);
    values.insert(values.end(), part.values.begin() + i * new_run, part.values.begin() + (i + 1) * new_run);
  }
  whole->values = std::move(values);
  whole->shape[axis] += part.shape[axis];
}

// One request for a sequence or a small batch; several for a large one, so that no message limit is in the way.
absl::StatusOr<RunResult> RunParts(Client* client, const std::string& model, const Array& input,
                                   const RunOptions& options) {
  const size_t rows = input.shape.size() == 3 ? static_cast<size_t>(input.shape[0]) : 1;
  const size_t row_size = rows == 0 ? 0 : input.values.size() / rows;
  const size_t part_rows = std::max<size_t>(1, kPartBytes / std::max<size_t>(1, row_size * sizeof(float)));
  if (input.shape.size() < 3 || rows <= part_rows || options.initial_state) {
    return client->RunSequence(model, input, options);
  }
  if (!options.lengths.empty() && options.lengths.size() != rows) {
    return absl::InvalidArgumentError(
        absl::StrCat("--lengths: got ", options.lengths.size(), ", want ", rows, ", one for each sequence"));
  }
  RunResult whole;
  Progress progress("running", rows);
  for (size_t begin = 0; begin < rows; begin += part_rows) {
    const size_t end = std::min(rows, begin + part_rows);
    Array part{input.shape, {input.values.begin() + begin * row_size, input.values.begin() + end * row_size}};
    part.shape[0] = static_cast<int64_t>(end - begin);
    RunOptions part_options = options;
    if (!options.lengths.empty()) {
      part_options.lengths.assign(options.lengths.begin() + begin, options.lengths.begin() + end);
    }
    absl::StatusOr<RunResult> result = client->RunSequence(model, part, part_options);
    if (!result.ok()) return result.status();
    Concatenate(result->output, 0, &whole.output);
    if (result->final_state) {
      if (!whole.final_state) whole.final_state.emplace();
      Concatenate(result->final_state->h, 1, &whole.final_state->h);
      Concatenate(result->final_state->c, 1, &whole.final_state->c);
    }
    whole.model_version = result->model_version;
    progress.Set(end);
  }
  return whole;
}

absl::Status Run(const Context& context, const RunArguments& arguments) {
  const std::map<std::string, v1::OutputMode> modes = {
      {"all", v1::OUTPUT_MODE_ALL}, {"last", v1::OUTPUT_MODE_LAST}, {"final", v1::OUTPUT_MODE_FINAL}};
  absl::StatusOr<Array> input = ReadInput(arguments);
  if (!input.ok()) return input.status();
  RunOptions options;
  options.model_version = arguments.version;
  options.lengths = arguments.lengths;
  options.output_mode = modes.at(arguments.outputs);
  options.return_final_state = arguments.state;
  absl::StatusOr<std::optional<State>> initial = arguments.initial.Read();
  if (!initial.ok()) return initial.status();
  options.initial_state = *std::move(initial);

  absl::StatusOr<std::unique_ptr<Client>> client = context.Connect();
  if (!client.ok()) return client.status();
  absl::StatusOr<RunResult> result = RunParts(client->get(), arguments.model, *input, options);
  if (!result.ok()) return result.status();

  const bool npy = IsNpyPath(arguments.output);
  std::string text;
  if (npy) {
    absl::Status status = WriteNpy(arguments.output, result->output);
    if (!status.ok()) return status;
  }
  if (context.json) {
    Json json = {{"model_version", result->model_version}, {"shape", result->output.shape}};
    if (!npy) json["output"] = ToJson(result->output);
    if (result->final_state) json["final_state"] = ToJson(*result->final_state);
    text = json.dump(2) + "\n";
  } else {
    if (!npy) text = Text(result->output);
    if (result->final_state) {
      absl::StrAppend(&text, "# final h [", absl::StrJoin(result->final_state->h.shape, ", "), "]\n",
                      Text(result->final_state->h), "# final c [", absl::StrJoin(result->final_state->c.shape, ", "),
                      "]\n", Text(result->final_state->c));
    }
  }
  if (npy || arguments.output == "-") return Print(text);
  return WriteFile(arguments.output, text);
}

}  // namespace

void AddRunCommand(CLI::App* app, Context* context) {
  auto arguments = std::make_shared<RunArguments>();
  CLI::App* run = app->add_subcommand("run", "Run whole sequences through a model, without a session");
  run->add_option("MODEL", arguments->model, "The model")->required()->type_name("");
  run->add_option("FILE", arguments->input, "CSV [T, I], or .npy [T, I] or [N, T, I]; -: CSV from standard input")
      ->required()
      ->type_name("");
  run->add_option("--outputs", arguments->outputs,
                  "all: of every time step; last: at the last time step; final: what each direction computed last")
      ->capture_default_str()
      ->check(CLI::IsMember({"all", "last", "final"}));
  run->add_flag("--state", arguments->state, "Also print the final hidden and cell state");
  run->add_option("--out", arguments->output, "Where outputs go; a name with .npy is written so; -: standard output")
      ->capture_default_str()
      ->type_name("FILE");
  run->add_option("--columns", arguments->columns, "Columns of the CSV to read, by name or number from 1")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->type_name("A,B,...");
  run->add_option("--lengths", arguments->lengths, "Valid time steps of each sequence")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->type_name("N,N,...");
  run->add_option("--version", arguments->version, "Version of the model; 0: the default")->capture_default_str();
  arguments->initial.AddTo(run, "Start from this");
  run->footer("Example:\n  lstmctl run sunspots months.npy --outputs last --state");
  run->callback([=] { context->run = [=] { return Run(*context, *arguments); }; });
}

}  // namespace lstmd::client
