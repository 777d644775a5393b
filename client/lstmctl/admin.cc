// SPDX-License-Identifier: Apache-2.0
//
// lstmctl top, log-level.
#include <cstdlib>
#include <memory>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/error.h"
#include "client/lstmctl/command.h"
#include "client/lstmctl/print.h"
#include "client/lstmctl/terminal.h"
#include "client/lstmctl/top_view.h"
#include "google/protobuf/util/json_util.h"

namespace lstmd::client {
namespace {

struct TopArguments {
  double interval = 1;
  bool once = false;
  uint64_t frames = 0;
};

bool IsUtf8() {
  for (const char* const name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    const char* const value = std::getenv(name);
    if (value != nullptr && *value != '\0') {
      const std::string name_of_set = absl::AsciiStrToLower(value);
      return absl::StrContains(name_of_set, "utf-8") || absl::StrContains(name_of_set, "utf8");
    }
  }
  return false;
}

absl::StatusOr<v1::ServerStats> Ask(Client* client) {
  v1::GetStatsRequest request;
  request.mutable_history_since()->set_seconds(absl::ToUnixSeconds(absl::Now() - absl::Minutes(1)));
  return client->GetStats(request);
}

absl::Status PrintStats(const v1::ServerStats& stats) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  options.always_print_primitive_fields = true;
  std::string text;
  if (!google::protobuf::util::MessageToJsonString(stats, &text, options).ok()) {
    return absl::InternalError("the answer is no valid message");
  }
  return Print(text + "\n");
}

// One frame after the other as plain text or JSON, one object a line: for scripts.
absl::Status PrintFrames(const Context& context, const TopArguments& arguments, Client* client, TopView view) {
  view.rows = 0;
  for (uint64_t frame = 0; arguments.frames == 0 || frame < arguments.frames; ++frame) {
    if (frame > 0) absl::SleepFor(absl::Seconds(arguments.interval));
    const absl::StatusOr<v1::ServerStats> stats = Ask(client);
    if (!stats.ok()) return stats.status();
    std::string text;
    for (const std::string& line : RenderTop(*stats, view)) absl::StrAppend(&text, line, "\n");
    if (frame > 0 && !context.json) text = "\n" + text;
    absl::Status status = context.json ? PrintStats(*stats) : Print(text);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status ShowLive(const TopArguments& arguments, Client* client, TopView view) {
  Terminal terminal;
  v1::ServerStats stats;
  view.keys = true;
  for (uint64_t frame = 0; !Terminal::Interrupted(); ++frame) {
    if (!view.paused) {
      absl::StatusOr<v1::ServerStats> answer = Ask(client);
      if (!answer.ok() && frame == 0) return answer.status();
      // A server that restarts is there again soon.
      view.problem = answer.ok() ? "" : absl::StrCat("no answer, trying again: ", answer.status().message());
      if (answer.ok()) stats = *std::move(answer);
    }
    const absl::Time next = absl::Now() + absl::Seconds(arguments.interval);
    if (arguments.frames != 0 && frame + 1 >= arguments.frames) return absl::OkStatus();
    for (absl::Time now = absl::Now(); now < next && !Terminal::Interrupted(); now = absl::Now()) {
      const TerminalSize size = Terminal::Size();
      view.columns = size.columns;
      view.rows = size.rows;
      terminal.Show(RenderTop(stats, view));
      switch (terminal.ReadKey(next - now)) {
        case 'q':
          return absl::OkStatus();
        case 's':
          view.order = static_cast<TopOrder>((static_cast<int>(view.order) + 1) % 4);
          break;
        case ' ':
        case 'p':
          view.paused = !view.paused;
          break;
        default:
          break;
      }
    }
  }
  return absl::OkStatus();
}

absl::Status Top(const Context& context, TopArguments arguments) {
  if (!(arguments.interval >= 0.1 && arguments.interval <= 3600)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--interval: got ", arguments.interval, ", want 0.1 to 3600 seconds"));
  }
  absl::StatusOr<std::unique_ptr<Client>> client = context.Connect();
  if (!client.ok()) return client.status();
  TopView view;
  view.server = context.server;
  view.unicode = IsUtf8();
  view.columns = Terminal::Size().columns;
  if (arguments.once) arguments.frames = 1;
  if (context.json || arguments.once || !Terminal::Is()) return PrintFrames(context, arguments, client->get(), view);
  const char* const no_color = std::getenv("NO_COLOR");
  view.color = no_color == nullptr || *no_color == '\0';
  return ShowLive(arguments, client->get(), view);
}

absl::Status ChangeLogLevel(const Context& context, const std::string& level) {
  absl::StatusOr<std::unique_ptr<Client>> client = context.Connect();
  if (!client.ok()) return client.status();
  const absl::StatusOr<std::string> now = level.empty() ? (*client)->GetLogLevel() : (*client)->SetLogLevel(level);
  if (!now.ok()) return now.status();
  return context.json ? PrintJson(Json{{"level", *now}}) : Print(absl::StrCat("the log level is ", *now, "\n"));
}

}  // namespace

void AddAdminCommands(CLI::App* app, Context* context) {
  auto arguments = std::make_shared<TopArguments>();
  CLI::App* top = app->add_subcommand("top", "Show what the server does, live");
  top->add_option("--interval", arguments->interval, "Seconds between two looks")->capture_default_str();
  top->add_flag("--once", arguments->once, "Print one look and end");
  top->add_option("--frames", arguments->frames, "End after so many looks; 0: never")->capture_default_str();
  top->footer(
      "Examples:\n  lstmctl top\n  lstmctl top --once --json | jq .recent.steps_per_second\nRates and latencies are of "
      "the "
      "last five seconds. Keys: q ends, s changes the order, space pauses.\nWithout a terminal it prints plain text, "
      "look "
      "after look.");
  top->callback([=] { context->run = [=] { return Top(*context, *arguments); }; });

  auto level = std::make_shared<std::string>();
  CLI::App* log_level = app->add_subcommand("log-level", "Show or change the log level of the running server");
  log_level->add_option("LEVEL", *level, "trace, debug, info, warn, error or off; without: show it")->type_name("");
  log_level->footer("Example:\n  lstmctl log-level debug");
  log_level->callback([=] { context->run = [=] { return ChangeLogLevel(*context, *level); }; });
}

}  // namespace lstmd::client
