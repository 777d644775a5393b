// SPDX-License-Identifier: Apache-2.0
//
// lstmctl sessions, create, get, state, reset, delete.
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "client/lstmctl/command.h"
#include "client/lstmctl/print.h"

namespace lstmd::client {
namespace {

struct SessionArguments {
  std::string model = "-";
  std::string name;  // full
  std::string id;
  size_t limit = 1000;
  int64_t version = 0;
  std::string ttl;
  std::string expires;
  std::vector<std::string> labels;
  bool exists_ok = false;
  std::string durability;
  bool pinned = false;
  bool with_state = false;
  bool allow_missing = false;
  StateFiles files;
};

std::string Details(const v1::Session& session) {
  std::string text =
      absl::StrCat(ShortName(session.name()), " on version ", session.model_version(), ": ", session.steps(),
                   " steps, epoch ", session.epoch(), ", last seq ", session.last_seq(), ", created ",
                   Text(session.create_time()), ", idle limit ", TtlText(session.idle_ttl()));
  if (session.durability() > v1::Session::NONE || session.durable_seq() != 0) {
    absl::StrAppend(&text, ", durability ", v1::Session::Durability_Name(session.durability()), ", safe up to seq ",
                    session.durable_seq());
  }
  if (session.residency() > v1::Session::DEVICE) {
    absl::StrAppend(&text, ", now on ", v1::Session::Residency_Name(session.residency()));
  }
  if (session.has_expire_time()) absl::StrAppend(&text, ", ends ", Text(session.expire_time()));
  for (const auto& [key, value] : session.labels()) absl::StrAppend(&text, ", ", key, "=", value);
  return text + "\n";
}

std::string StateText(const State& state) {
  return absl::StrCat("h [", absl::StrJoin(state.h.shape, ", "), "]\n", Text(state.h), "c [",
                      absl::StrJoin(state.c.shape, ", "), "]\n", Text(state.c));
}

absl::StatusOr<std::map<std::string, std::string>> Labels(const SessionArguments& arguments) {
  std::map<std::string, std::string> labels;
  for (const std::string& label : arguments.labels) {
    const size_t at = label.find('=');
    if (at == std::string::npos) {
      return absl::InvalidArgumentError(absl::StrCat("--label: '", label, "' is not KEY=VALUE"));
    }
    labels[label.substr(0, at)] = label.substr(at + 1);
  }
  return labels;
}

// "10m" from now, or an RFC 3339 time.
absl::StatusOr<absl::Time> ExpireTime(const std::string& text) {
  absl::Duration after;
  if (absl::ParseDuration(text, &after)) return absl::Now() + after;
  absl::Time time;
  std::string error;
  if (absl::ParseTime(absl::RFC3339_full, text, &time, &error)) return time;
  return absl::InvalidArgumentError(
      absl::StrCat("--expires: '", text, "' is neither a duration (10m, 24h) nor a time (2027-01-31T12:00:00Z)"));
}

absl::StatusOr<absl::Duration> IdleTtl(const std::string& text) {
  absl::Duration ttl;
  if (absl::ParseDuration(text, &ttl) && ttl >= absl::ZeroDuration()) return ttl;
  return absl::InvalidArgumentError(absl::StrCat("--ttl: '", text, "' is no duration; write 90s, 10m, 1h"));
}

absl::Status List(const Context& context, const SessionArguments& arguments) {
  const absl::StatusOr<std::map<std::string, std::string>> labels = Labels(arguments);
  if (!labels.ok()) return labels.status();
  absl::StatusOr<std::unique_ptr<Client>> client = context.Connect();
  if (!client.ok()) return client.status();
  absl::StatusOr<std::vector<v1::Session>> sessions =
      (*client)->ListSessions(arguments.model, arguments.limit, *labels);
  if (!sessions.ok()) return sessions.status();
  if (context.json) {
    Json json = Json::array();
    for (const v1::Session& session : *sessions) json.push_back(ToJson(session));
    return PrintJson(json);
  }
  if (sessions->empty()) return Print("There are no sessions.\n");
  Table table({"SESSION", "VERSION", "STEPS", "EPOCH", "SEQ", "CREATED", "LAST STEP", "IDLE LIMIT"});
  for (const v1::Session& session : *sessions) {
    table.Add({ShortName(session.name()), absl::StrCat(session.model_version()), absl::StrCat(session.steps()),
               absl::StrCat(session.epoch()), absl::StrCat(session.last_seq()), Text(session.create_time()),
               session.has_last_step_time() ? Text(session.last_step_time()) : "-", TtlText(session.idle_ttl())});
  }
  std::string text = table.Text();
  if (sessions->size() == arguments.limit)
    absl::StrAppend(&text, "(at most ", arguments.limit, " are shown; --limit)\n");
  return Print(text);
}

absl::Status Create(const Context& context, const SessionArguments& arguments) {
  CreateSessionOptions options;
  options.id = arguments.id;
  options.model_version = arguments.version;
  options.exists_ok = arguments.exists_ok;
  options.pinned = arguments.pinned;
  options.durability = arguments.durability == "none"         ? v1::Session::NONE
                       : arguments.durability == "periodic"   ? v1::Session::PERIODIC
                       : arguments.durability == "every_step" ? v1::Session::EVERY_STEP
                                                              : v1::Session::DURABILITY_UNSPECIFIED;
  if (!arguments.ttl.empty()) {
    const absl::StatusOr<absl::Duration> ttl = IdleTtl(arguments.ttl);
    if (!ttl.ok()) return ttl.status();
    options.idle_ttl = *ttl;
  }
  if (!arguments.expires.empty()) {
    const absl::StatusOr<absl::Time> time = ExpireTime(arguments.expires);
    if (!time.ok()) return time.status();
    options.expire_time = *time;
  }
  absl::StatusOr<std::map<std::string, std::string>> labels = Labels(arguments);
  if (!labels.ok()) return labels.status();
  options.labels = *std::move(labels);
  absl::StatusOr<std::optional<State>> state = arguments.files.Read();
  if (!state.ok()) return state.status();
  options.initial_state = *std::move(state);
  absl::StatusOr<std::unique_ptr<Client>> client = context.Connect();
  if (!client.ok()) return client.status();
  absl::StatusOr<Session> session = (*client)->CreateSession(arguments.model, options);
  if (!session.ok()) return session.status();
  if (!context.json) return Print(ShortName(session->name()) + "\n");
  absl::StatusOr<v1::Session> created = session->Get();
  if (!created.ok()) return created.status();
  return PrintJson(ToJson(*created));
}

absl::Status Get(const Context& context, const SessionArguments& arguments) {
  absl::StatusOr<std::unique_ptr<Client>> client = context.Connect();
  if (!client.ok()) return client.status();
  Session session = (*client)->OpenSession(arguments.name);
  absl::StatusOr<v1::Session> found = session.Get();
  if (!found.ok()) return found.status();
  if (!arguments.with_state) return context.json ? PrintJson(ToJson(*found)) : Print(Details(*found));
  absl::StatusOr<State> state = session.GetState();
  if (!state.ok()) return state.status();
  if (!context.json) return Print(Details(*found) + StateText(*state));
  Json json = ToJson(*found);
  json["state"] = ToJson(*state);
  return PrintJson(json);
}

absl::Status GetState(const Context& context, const SessionArguments& arguments) {
  absl::StatusOr<std::unique_ptr<Client>> client = context.Connect();
  if (!client.ok()) return client.status();
  absl::StatusOr<State> state = (*client)->OpenSession(arguments.name).GetState();
  if (!state.ok()) return state.status();
  if (!arguments.files.h.empty()) return arguments.files.Write(*state);
  return context.json ? PrintJson(ToJson(*state)) : Print(StateText(*state));
}

absl::Status Reset(const Context& context, const SessionArguments& arguments) {
  absl::StatusOr<std::optional<State>> state = arguments.files.Read();
  if (!state.ok()) return state.status();
  absl::StatusOr<std::unique_ptr<Client>> client = context.Connect();
  if (!client.ok()) return client.status();
  absl::StatusOr<v1::Session> session = (*client)->OpenSession(arguments.name).Reset(*state);
  if (!session.ok()) return session.status();
  return context.json ? PrintJson(ToJson(*session)) : Print(Details(*session));
}

absl::Status Delete(const Context& context, const SessionArguments& arguments) {
  absl::StatusOr<std::unique_ptr<Client>> client = context.Connect();
  if (!client.ok()) return client.status();
  absl::Status status = (*client)->OpenSession(arguments.name).Delete(arguments.allow_missing);
  if (!status.ok()) return status;
  if (context.json) return PrintJson(Json{{"deleted", ShortName(arguments.name)}});
  return Print(absl::StrCat(ShortName(arguments.name), " is deleted\n"));
}

void AddLabels(CLI::App* command, std::vector<std::string>* labels, const std::string& help) {
  command->add_option("--label", *labels, help)->type_name("KEY=VALUE")->allow_extra_args(false);
}

}  // namespace

void AddSessionCommands(CLI::App* app, Context* context) {
  auto arguments = std::make_shared<SessionArguments>();
  CLI::App* list = app->add_subcommand("sessions", "List the living sessions");
  list->add_option("MODEL", arguments->model, "Only those of this model")->type_name("");
  list->add_option("--limit", arguments->limit, "At most this many")->capture_default_str();
  AddLabels(list, &arguments->labels, "Only those with this label, or all of several");
  list->footer("Example:\n  lstmctl sessions sunspots --label owner=me");
  list->callback([=] { context->run = [=] { return List(*context, *arguments); }; });

  CLI::App* create = app->add_subcommand("create", "Start a session: a stream of time through a model");
  create->add_option("MODEL", arguments->model, "The model")->required()->type_name("");
  create->add_option("ID", arguments->id, "Its id; without, the server makes one")->type_name("");
  create->add_option("--version", arguments->version, "Version of the model; 0: the default")->capture_default_str();
  create->add_option("--ttl", arguments->ttl, "End it after this long without a step: 90s, 10m, 1h; 0: never")
      ->type_name("DURATION");
  create->add_option("--expires", arguments->expires, "End it then whatever happens: 24h, or 2027-01-31T12:00:00Z")
      ->type_name("TIME");
  AddLabels(create, &arguments->labels, "Something to know it by");
  create
      ->add_option("--durability", arguments->durability, "none, periodic or every_step; without, the server's setting")
      ->check(CLI::IsMember({"none", "periodic", "every_step"}))
      ->type_name("NAME");
  create->add_flag("--pinned", arguments->pinned, "Its state stays on the device, also when it is idle");
  create->add_flag("--exists-ok", arguments->exists_ok, "Take the session of this id if there is one");
  arguments->files.AddTo(create, "Start from this");
  create->footer("Example:\n  lstmctl create sunspots alice --ttl 10m --label owner=me");
  create->callback([=] { context->run = [=] { return Create(*context, *arguments); }; });

  CLI::App* get = app->add_subcommand("get", "Show a session");
  AddSessionArgument(get, &arguments->name);
  get->add_flag("--state", arguments->with_state, "Also its hidden and cell state");
  get->footer("Example:\n  lstmctl get sunspots/alice");
  get->callback([=] { context->run = [=] { return Get(*context, *arguments); }; });

  CLI::App* state = app->add_subcommand("state", "Read the hidden and cell state of a session");
  AddSessionArgument(state, &arguments->name);
  arguments->files.AddTo(state, "Write here the");
  state->footer("Example:\n  lstmctl state sunspots/alice --h h.npy --c c.npy");
  state->callback([=] { context->run = [=] { return GetState(*context, *arguments); }; });

  CLI::App* reset = app->add_subcommand("reset", "Set a session back to the beginning, or to a given state");
  AddSessionArgument(reset, &arguments->name);
  arguments->files.AddTo(reset, "Go on from this");
  reset->footer("Example:\n  lstmctl reset sunspots/alice");
  reset->callback([=] { context->run = [=] { return Reset(*context, *arguments); }; });

  CLI::App* remove = app->add_subcommand("delete", "End a session");
  AddSessionArgument(remove, &arguments->name);
  remove->add_flag("--allow-missing", arguments->allow_missing, "No error when there is none");
  remove->footer("Example:\n  lstmctl delete sunspots/alice");
  remove->callback([=] { context->run = [=] { return Delete(*context, *arguments); }; });
}

}  // namespace lstmd::client
