// SPDX-License-Identifier: Apache-2.0
//
// lstmctl watch: events of sessions, one a line, as they happen.
#include <algorithm>
#include <cctype>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/lstmctl/command.h"
#include "client/lstmctl/print.h"

namespace lstmd::client {
namespace {

struct WatchArguments {
  std::string model = "-";
  std::vector<std::string> kinds;
  size_t count = 0;
};

absl::StatusOr<std::vector<v1::SessionEvent::Kind>> Kinds(const std::vector<std::string>& names) {
  std::vector<v1::SessionEvent::Kind> kinds;
  for (std::string name : names) {
    std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::toupper(c); });
    v1::SessionEvent::Kind kind;
    if (!v1::SessionEvent::Kind_Parse(name, &kind) || kind == v1::SessionEvent::KIND_UNSPECIFIED) {
      return absl::InvalidArgumentError(absl::StrCat(
          "--kind: '", name, "' is none of created, deleted, expired, evicted, unloaded, moved, spilled, restored"));
    }
    kinds.push_back(kind);
  }
  return kinds;
}

std::string Line(const v1::SessionEvent& event) {
  std::string line = absl::StrCat(Text(event.time()), " ", v1::SessionEvent::Kind_Name(event.kind()));
  if (event.kind() == v1::SessionEvent::MISSED) {
    return absl::StrCat(line, " ", event.missed(), " events: this client read too slowly\n");
  }
  absl::StrAppend(&line, " ", ShortName(event.session()));
  if (!event.reason().empty()) absl::StrAppend(&line, ": ", event.reason());
  return line + "\n";
}

std::string JsonLine(const v1::SessionEvent& event) {
  Json json;
  json["time"] = Text(event.time());
  json["kind"] = v1::SessionEvent::Kind_Name(event.kind());
  if (event.kind() == v1::SessionEvent::MISSED) {
    json["missed"] = event.missed();
  } else {
    json["session"] = ShortName(event.session());
    json["uid"] = event.uid();
    json["reason"] = event.reason();
  }
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

absl::Status WatchThem(const Context& context, const WatchArguments& arguments) {
  const absl::StatusOr<std::vector<v1::SessionEvent::Kind>> kinds = Kinds(arguments.kinds);
  if (!kinds.ok()) return kinds.status();
  absl::StatusOr<std::unique_ptr<Client>> client = context.Connect();
  if (!client.ok()) return client.status();
  absl::StatusOr<std::unique_ptr<Watch>> watch = (*client)->WatchSessions(arguments.model, *kinds);
  if (!watch.ok()) return watch.status();
  if (!context.json) {
    if (absl::Status status = Print("watching; ^C ends it\n"); !status.ok()) return status;
  }
  for (size_t seen = 0; arguments.count == 0 || seen < arguments.count; ++seen) {
    const absl::StatusOr<v1::SessionEvent> event = (*watch)->Next();
    if (!event.ok()) return event.status();
    if (absl::Status status = Print(context.json ? JsonLine(*event) : Line(*event)); !status.ok()) return status;
  }
  return absl::OkStatus();
}

}  // namespace

void AddWatchCommand(CLI::App* app, Context* context) {
  auto arguments = std::make_shared<WatchArguments>();
  CLI::App* watch = app->add_subcommand("watch", "Show what happens to sessions, as it happens");
  watch->add_option("MODEL", arguments->model, "Only those of this model")->type_name("");
  watch
      ->add_option("--kind", arguments->kinds,
                   "Only these: created, deleted, expired, evicted, unloaded, moved, spilled, restored; repeatable")
      ->type_name("KIND")
      ->allow_extra_args(false);
  watch->add_option("--count", arguments->count, "End after this many; 0: never")->capture_default_str();
  watch->footer("Example:\n  lstmctl watch sunspots --kind expired --kind evicted\nWith --json one object a line.");
  watch->callback([=] { context->run = [=] { return WatchThem(*context, *arguments); }; });
}

}  // namespace lstmd::client
