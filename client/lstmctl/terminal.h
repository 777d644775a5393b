// SPDX-License-Identifier: Apache-2.0
#ifndef LSTMD_CLIENT_LSTMCTL_TERMINAL_H_
#define LSTMD_CLIENT_LSTMCTL_TERMINAL_H_

#include <termios.h>

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace lstmd::client {

struct TerminalSize {
  int columns = 100;
  int rows = 40;
};

// Standard input and output as a full-screen terminal, as long as it lives: another screen, no cursor, keys at once and
// without echo. Gives all back at its end and when a signal ends the program. At most one at a time.
class Terminal {
 public:
  Terminal();
  ~Terminal();
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  // Whether standard input and output are a terminal that can do this.
  static bool Is();
  // Of now: people resize windows. What a terminal does not say is as TerminalSize has it.
  static TerminalSize Size();

  // Replaces what is on the screen, in one write and without flicker.
  void Show(const std::vector<std::string>& lines);
  // A key, or 0 when none came in `timeout`, or when a signal says that it is time to end or the size has changed.
  char ReadKey(absl::Duration timeout);
  // SIGINT, SIGTERM or SIGHUP has come.
  static bool Interrupted();

 private:
  termios before_{};
};

}  // namespace lstmd::client

#endif  // LSTMD_CLIENT_LSTMCTL_TERMINAL_H_
