// SPDX-License-Identifier: Apache-2.0
//
// lstmctl step.
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client/lstmctl/command.h"
#include "client/lstmctl/print.h"
#include "client/lstmctl/rows.h"

namespace lstmd::client {
namespace {

struct StepArguments {
  std::string name;
  std::vector<std::string> values;
  StepOptions options;
};

absl::Status Step(const Context& context, const StepArguments& arguments) {
  Array input;
  for (const std::string& argument : arguments.values) {
    for (const absl::string_view text : absl::StrSplit(argument, absl::ByAnyChar(", "), absl::SkipEmpty())) {
      float value;
      if (!ParseFloat(text, &value)) return absl::InvalidArgumentError(absl::StrCat("'", text, "' is not a number"));
      input.values.push_back(value);
    }
  }
  input.shape = {static_cast<int64_t>(input.values.size())};
  absl::StatusOr<std::unique_ptr<Client>> client = context.Connect();
  if (!client.ok()) return client.status();
  absl::StatusOr<StepOutput> output = (*client)->OpenSession(arguments.name).Step(input, arguments.options);
  if (!output.ok()) return output.status();
  if (context.json) {
    Json json = {{"output", ToJson(output->output)},
                 {"seq", output->seq},
                 {"epoch", output->epoch},
                 {"replayed", output->replayed}};
    if (output->state) json["state"] = ToJson(*output->state);
    return PrintJson(json);
  }
  std::string text = Text(output->output);
  if (output->state) absl::StrAppend(&text, "h\n", Text(output->state->h), "c\n", Text(output->state->c));
  return Print(text);
}

}  // namespace

void AddStepCommand(CLI::App* app, Context* context) {
  auto arguments = std::make_shared<StepArguments>();
  CLI::App* step = app->add_subcommand("step", "Step a session once and print the output");
  AddSessionArgument(step, &arguments->name);
  step->add_option("VALUES", arguments->values, "The input of one time step: I numbers")->required()->type_name("");
  step->add_option(
      "--seq", arguments->options.seq,
      "Number of the step, from 1: sent again with the same number, by you or by lstmctl itself when an answer "
      "does not come, the step is not taken twice");
  step->add_flag("--state", arguments->options.return_state, "Also print the state after it");
  step->add_flag("--create", arguments->options.create_if_missing, "Create the session if there is none");
  step->add_flag("--end", arguments->options.end_session, "Delete the session after it");
  step->footer("Example:\n  lstmctl step sunspots/alice 0.53 --create");
  step->callback([=] { context->run = [=] { return Step(*context, *arguments); }; });
}

}  // namespace lstmd::client
