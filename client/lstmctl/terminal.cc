// SPDX-License-Identifier: Apache-2.0
#include "client/lstmctl/terminal.h"

#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

namespace lstmd::client {
namespace {

constexpr char kEnter[] = "\033[?1049h\033[?25l\033[2J";
constexpr char kLeave[] = "\033[?25h\033[?1049l";

volatile sig_atomic_t interrupted = 0;

void OnSignal(int signal) {
  if (signal != SIGWINCH) interrupted = 1;
}

void Write(absl::string_view text) {
  while (!text.empty()) {
    const ssize_t written = write(STDOUT_FILENO, text.data(), text.size());
    if (written <= 0) return;
    text.remove_prefix(static_cast<size_t>(written));
  }
}

}  // namespace

Terminal::Terminal() {
  // Without SA_RESTART, so that they end the wait for a key.
  struct sigaction action {};
  action.sa_handler = OnSignal;
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGWINCH}) sigaction(signal, &action, nullptr);
  tcgetattr(STDIN_FILENO, &before_);
  termios raw = before_;
  raw.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
  raw.c_cc[VMIN] = 0;
  raw.c_cc[VTIME] = 0;
  tcsetattr(STDIN_FILENO, TCSANOW, &raw);
  Write(kEnter);
}

Terminal::~Terminal() {
  Write(kLeave);
  tcsetattr(STDIN_FILENO, TCSANOW, &before_);
}

bool Terminal::Is() {
  const char* const kind = std::getenv("TERM");
  return isatty(STDIN_FILENO) != 0 && isatty(STDOUT_FILENO) != 0 && kind != nullptr &&
         absl::string_view(kind) != "dumb";
}

TerminalSize Terminal::Size() {
  TerminalSize size;
  winsize window{};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col > 0 && window.ws_row > 0) {
    size.columns = window.ws_col;
    size.rows = window.ws_row;
  }
  return size;
}

void Terminal::Show(const std::vector<std::string>& lines) {
  const size_t rows = static_cast<size_t>(Size().rows);
  std::string text = "\033[H";
  for (size_t i = 0; i < std::min(lines.size(), rows); ++i) {
    if (i > 0) text += "\r\n";
    text += lines[i];
    text += "\033[K";
  }
  text += "\033[J";
  Write(text);
}

char Terminal::ReadKey(absl::Duration timeout) {
  pollfd input = {STDIN_FILENO, POLLIN, 0};
  if (poll(&input, 1, static_cast<int>(absl::ToInt64Milliseconds(timeout))) <= 0) return 0;
  char key = 0;
  if (read(STDIN_FILENO, &key, 1) == 1) return key;
  interrupted = 1;  // the terminal is gone
  return 0;
}

bool Terminal::Interrupted() { return interrupted != 0; }

}  // namespace lstmd::client
