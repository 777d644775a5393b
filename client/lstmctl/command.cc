// SPDX-License-Identifier: Apache-2.0
#include "client/lstmctl/command.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "client/lstmctl/npy.h"

namespace lstmd::client {

ClientOptions Context::Options() const {
  ClientOptions options = secured_;
  options.timeout = timeout_seconds > 0 ? absl::Seconds(timeout_seconds) : absl::InfiniteDuration();
  return options;
}

absl::StatusOr<std::unique_ptr<Client>> Context::Connect() const { return Client::Connect(server, Options()); }

absl::Status Context::ReadSecurity() { return AddSecurity(security, server, &secured_); }

CLI::Option* AddSessionArgument(CLI::App* command, std::string* name) {
  return command->add_option("SESSION", *name, "The session: MODEL/ID, for example sunspots/alice")
      ->required()
      ->type_name("")
      ->transform([](const std::string& text) -> std::string {
        const std::vector<std::string> parts = absl::StrSplit(text, '/');
        if (parts.size() == 2 && !parts[0].empty() && !parts[1].empty()) return SessionName(parts[0], parts[1]);
        if (parts.size() == 4 && parts[0] == "models" && parts[2] == "sessions") return text;
        throw CLI::ValidationError("'" + text + "' names no session; write MODEL/ID");
      });
}

std::string ShortName(const std::string& name) {
  const std::vector<std::string> parts = absl::StrSplit(name, '/');
  if (parts.size() == 4) return absl::StrCat(parts[1], "/", parts[3]);
  if (parts.size() == 2) return parts[1];
  return name;
}

void StateFiles::AddTo(CLI::App* command, const std::string& purpose) {
  CLI::Option* hidden = command->add_option("--h", h, purpose + " hidden state, .npy [L*D, P or H]")->type_name("FILE");
  CLI::Option* cell = command->add_option("--c", c, purpose + " cell state, .npy [L*D, H]")->type_name("FILE");
  hidden->needs(cell);
  cell->needs(hidden);
}

absl::StatusOr<std::optional<State>> StateFiles::Read() const {
  if (h.empty()) return std::optional<State>();
  absl::StatusOr<Array> hidden = ReadNpy(h);
  if (!hidden.ok()) return hidden.status();
  absl::StatusOr<Array> cell = ReadNpy(c);
  if (!cell.ok()) return cell.status();
  return std::optional<State>(State{*std::move(hidden), *std::move(cell)});
}

absl::Status StateFiles::Write(const State& state) const {
  if (h.empty()) return absl::OkStatus();
  absl::Status status = WriteNpy(h, state.h);
  if (status.ok()) status = WriteNpy(c, state.c);
  return status;
}

}  // namespace lstmd::client
