// SPDX-License-Identifier: Apache-2.0
//
// lstmctl token new: a token, and the line of the server's --auth-file that lets it in.
#include <sys/random.h>

#include <fstream>
#include <iostream>
#include <memory>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "client/lstmctl/command.h"
#include "client/lstmctl/print.h"
#include "openssl/sha.h"

namespace lstmd::client {
namespace {

struct Arguments {
  std::string tenant;
  std::string role = "user";
  std::string expires;
  std::string add;
};

// 256 random bits, so that its hash can be kept as it is: there is nothing to guess.
absl::StatusOr<std::string> NewToken() {
  unsigned char bytes[32];
  if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes) return absl::InternalError("the system has no randomness");
  std::string text;
  absl::WebSafeBase64Escape(absl::string_view(reinterpret_cast<const char*>(bytes), sizeof bytes), &text);
  return absl::StrCat("lstmd_", text);
}

std::string LineOf(const Arguments& arguments, const std::string& token) {
  unsigned char hash[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(token.data()), token.size(), hash);
  const std::string hex = absl::BytesToHexString(absl::string_view(reinterpret_cast<const char*>(hash), sizeof hash));
  return absl::StrCat(arguments.tenant, " ", arguments.role, " sha256:", hex,
                      arguments.expires.empty() ? "" : " expires=", arguments.expires);
}

absl::Status New(const Context& context, const Arguments& arguments) {
  const absl::StatusOr<std::string> token = NewToken();
  if (!token.ok()) return token.status();
  const std::string line = LineOf(arguments, *token);
  if (!arguments.add.empty()) {
    std::ofstream file(arguments.add, std::ios::app);
    file << line << "\n";
    file.close();
    if (!file) return absl::UnavailableError(absl::StrCat("cannot write to ", arguments.add));
  }
  if (context.json) return PrintJson(Json{{"token", *token}, {"line", line}});
  if (arguments.add.empty()) std::cerr << "for --auth-file of lstmd: " << line << "\n";
  return Print(*token + "\n");
}

}  // namespace

void AddTokenCommand(CLI::App* app, Context* context) {
  CLI::App* command = app->add_subcommand("token", "Tokens that let clients in (lstmd --auth-file)");
  command->require_subcommand(1);
  CLI::App* make = command->add_subcommand("new", "Make a token: it is printed once, and kept nowhere");
  make->footer(
      "Example:\n  lstmctl token new team-a --add /etc/lstmd/tokens > team-a.token\n"
      "  lstmctl --server lstmd.example.com:8001 --tls-ca ca.pem --token-file team-a.token models");
  auto arguments = std::make_shared<Arguments>();
  make->add_option("TENANT", arguments->tenant, "Whose it is: its sessions are those of this tenant")
      ->required()
      ->type_name("")
      ->check([](const std::string& name) {
        const bool good = !name.empty() && name.size() <= 63 && absl::ascii_isalnum(name[0]) &&
                          name.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") ==
                              std::string::npos;
        return good ? std::string() : "want 1 to 63 of A-Z a-z 0-9 . _ -, first a letter or digit";
      });
  make->add_option("--role", arguments->role, "user, or admin: may load and unload models, and drain")
      ->check(CLI::IsMember({"user", "admin"}))
      ->capture_default_str();
  make->add_option("--expires", arguments->expires, "The day it ends, for example 2027-01-31")
      ->check([](const std::string& text) {
        absl::Time time;
        std::string error;
        return absl::ParseTime("%Y-%m-%d", text, &time, &error) ? std::string() : "want YYYY-MM-DD";
      });
  make->add_option("--add", arguments->add, "Add its line to this file of the server")->type_name("FILE");
  make->callback([context, arguments] { context->run = [context, arguments] { return New(*context, *arguments); }; });
}

}  // namespace lstmd::client
