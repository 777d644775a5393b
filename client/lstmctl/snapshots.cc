// SPDX-License-Identifier: Apache-2.0
//
// lstmctl fork, export, restore: sessions made from others.
#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client/lstmctl/command.h"
#include "client/lstmctl/print.h"

namespace lstmd::client {
namespace {

struct SnapshotArguments {
  std::string name;  // full
  std::string id;
  std::string file;
  std::string target;  // MODEL or MODEL/ID
  bool replace = false;
  bool any_weights = false;
};

absl::Status Show(const Context& context, absl::StatusOr<Session> session) {
  if (!session.ok()) return session.status();
  if (!context.json) return Print(ShortName(session->name()) + "\n");
  absl::StatusOr<v1::Session> made = session->Get();
  if (!made.ok()) return made.status();
  return PrintJson(ToJson(*made));
}

absl::Status ForkIt(const Context& context, const SnapshotArguments& arguments) {
  absl::StatusOr<std::unique_ptr<Client>> client = context.Connect();
  if (!client.ok()) return client.status();
  return Show(context, (*client)->OpenSession(arguments.name).Fork(arguments.id));
}

absl::Status ExportIt(const Context& context, const SnapshotArguments& arguments) {
  absl::StatusOr<std::unique_ptr<Client>> client = context.Connect();
  if (!client.ok()) return client.status();
  absl::StatusOr<v1::SessionSnapshot> snapshot = (*client)->OpenSession(arguments.name).Export();
  if (!snapshot.ok()) return snapshot.status();
  if (arguments.file == "-") return Print(snapshot->data());
  std::ofstream file(arguments.file, std::ios::binary);
  file << snapshot->data();
  if (!file.flush()) return absl::UnknownError(absl::StrCat("cannot write ", arguments.file));
  if (context.json) {
    return PrintJson(Json{{"session", ShortName(snapshot->session())},
                          {"model_version", snapshot->model_version()},
                          {"weights_sha256", snapshot->weights_sha256()},
                          {"epoch", snapshot->epoch()},
                          {"last_seq", snapshot->last_seq()},
                          {"steps", snapshot->steps()},
                          {"bytes", snapshot->data().size()}});
  }
  return Print(absl::StrCat(ShortName(snapshot->session()), " after ", snapshot->steps(), " steps, last seq ",
                            snapshot->last_seq(), ": ", Bytes(snapshot->data().size()), " in ", arguments.file, "\n"));
}

absl::Status Restore(const Context& context, const SnapshotArguments& arguments) {
  const std::vector<std::string> parts = absl::StrSplit(arguments.target, '/');
  std::ifstream opened;
  if (arguments.file != "-") {
    opened.open(arguments.file, std::ios::binary);
    if (!opened) return absl::NotFoundError(absl::StrCat("cannot open ", arguments.file));
  }
  std::istream& file = arguments.file == "-" ? std::cin : opened;
  std::string snapshot((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  ImportSessionOptions options;
  if (parts.size() == 2) options.id = parts[1];
  options.replace = arguments.replace;
  options.any_weights = arguments.any_weights;
  absl::StatusOr<std::unique_ptr<Client>> client = context.Connect();
  if (!client.ok()) return client.status();
  return Show(context, (*client)->ImportSession(parts[0], std::move(snapshot), options));
}

}  // namespace

void AddSnapshotCommands(CLI::App* app, Context* context) {
  auto arguments = std::make_shared<SnapshotArguments>();
  CLI::App* fork = app->add_subcommand("fork", "Start a session with a copy of another's state");
  AddSessionArgument(fork, &arguments->name);
  fork->add_option("ID", arguments->id, "Id of the copy; without, the server makes one")->type_name("");
  fork->footer("Example:\n  lstmctl fork sunspots/alice what-if");
  fork->callback([=] { context->run = [=] { return ForkIt(*context, *arguments); }; });

  CLI::App* save =
      app->add_subcommand("export", "Write all of a session to a file: state, numbers, replies for repeats");
  AddSessionArgument(save, &arguments->name);
  save->add_option("FILE", arguments->file, "Where to; -: standard output")->required()->type_name("");
  save->footer("Example:\n  lstmctl export sunspots/alice alice.lsts");
  save->callback([=] { context->run = [=] { return ExportIt(*context, *arguments); }; });

  CLI::App* restore = app->add_subcommand("restore", "Make a session from such a file, on this or another server");
  restore->add_option("FILE", arguments->file, "What export wrote; -: standard input")->required()->type_name("");
  restore->add_option("SESSION", arguments->target, "MODEL/ID, or MODEL: the server makes an id")
      ->required()
      ->type_name("")
      ->check([](const std::string& text) -> std::string {
        const std::vector<std::string> parts = absl::StrSplit(text, '/');
        const bool good = parts.size() <= 2 && !parts[0].empty() && !parts.back().empty();
        return good ? "" : "'" + text + "' is neither MODEL/ID nor MODEL";
      });
  restore->add_flag("--replace", arguments->replace, "A session of that id becomes what the file says");
  restore->add_flag("--any-weights", arguments->any_weights,
                    "Where the weights it ran on are not loaded, take the default version's");
  restore->footer("Example:\n  lstmctl --server other:8001 restore alice.lsts sunspots/alice");
  restore->callback([=] { context->run = [=] { return Restore(*context, *arguments); }; });
}

}  // namespace lstmd::client
