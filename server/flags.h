// SPDX-License-Identifier: Apache-2.0
#ifndef LSTMD_SERVER_FLAGS_H_
#define LSTMD_SERVER_FLAGS_H_

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/time/time.h"
#include "engine/memory_budget.h"
#include "server/options.h"

namespace lstmd::server {

// "--drain-timeout" to "LSTMD_DRAIN_TIMEOUT".
inline std::string EnvironmentName(const std::string& flag) {
  std::string name = "LSTMD_";
  for (const char c : flag.substr(2)) name += c == '-' ? '_' : static_cast<char>(std::toupper(c));
  return name;
}

// Adds flags of one group, each with its place in the environment.
class Flags {
 public:
  Flags(CLI::App* app, std::string group) : app_(*app), group_(std::move(group)) {}

  template <typename T>
  CLI::Option* Add(const std::string& flag, T* value, const std::string& help) {
    return Finish(flag, app_.add_option(flag, *value, help)->capture_default_str());
  }

  void AddDuration(const std::string& flag, absl::Duration* value, const std::string& help) {
    const auto check = [](const std::string& text) {
      absl::Duration parsed;
      const bool good = absl::ParseDuration(text, &parsed) && parsed >= absl::ZeroDuration();
      return good ? std::string() : "got '" + text + "', want a duration such as 250ms, 30s or 1h; 0 or more";
    };
    const auto set = [value](const std::string& text) { (void)absl::ParseDuration(text, value); };
    Finish(flag, app_.add_option_function<std::string>(flag, set, help)
                     ->check(CLI::Validator(check, "", ""))
                     ->default_str(absl::FormatDuration(*value))
                     ->type_name("DURATION"));
  }

  // A size, or "auto".
  void AddMemory(const std::string& flag, uint64_t* value, const std::string& help) {
    *value = AvailableBytes() / 100 * 85;
    Finish(flag,
           app_.add_option(flag, *value, help)
               ->transform([value](const std::string& text) { return text == "auto" ? std::to_string(*value) : text; })
               ->transform(CLI::AsSizeValue(false))
               ->default_str("auto")
               ->type_name("SIZE"));
  }

  void AddFlag(const std::string& flag, bool* value, const std::string& help) {
    Finish(flag, app_.add_flag(flag, *value, help));
  }

  // `read` takes one value, and answers what is wrong with it.
  void AddList(const std::string& flag, std::function<std::string(const std::string&)> read, const std::string& help,
               const std::string& type) {
    const auto set = [read](const std::vector<std::string>& values) {
      for (const std::string& value : values) (void)read(value);
    };
    Finish(flag, app_.add_option_function<std::vector<std::string>>(flag, set, help)
                     ->check(CLI::Validator([read](const std::string& text) { return read(text); }, "", ""))
                     ->type_name(type)
                     ->expected(1)
                     ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll));
  }

  // One of a few words, the first by default.
  void AddChoice(const std::string& flag, const std::vector<std::string>& words,
                 std::function<void(const std::string&)> set, const std::string& help) {
    Finish(flag, app_.add_option_function<std::string>(flag, std::move(set), help)
                     ->check(CLI::IsMember(words))
                     ->default_str(words[0])
                     ->type_name("POLICY"));
  }

  template <typename T>
  CLI::Option* AddSize(const std::string& flag, T* value, const std::string& help) {
    return Add(flag, value, help)->transform(CLI::AsSizeValue(false))->type_name("SIZE");
  }

 private:
  CLI::Option* Finish(const std::string& flag, CLI::Option* option) {
    return option->group(group_)->envname(EnvironmentName(flag));
  }

  CLI::App& app_;
  const std::string group_;
};

// The groups that are about sessions: bounds, durability, spilling.
void AddSessionFlags(CLI::App* app, ServerOptions* options);

}  // namespace lstmd::server

#endif  // LSTMD_SERVER_FLAGS_H_
