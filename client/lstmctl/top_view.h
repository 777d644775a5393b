// SPDX-License-Identifier: Apache-2.0
#ifndef LSTMD_CLIENT_LSTMCTL_TOP_VIEW_H_
#define LSTMD_CLIENT_LSTMCTL_TOP_VIEW_H_

#include <string>
#include <vector>

#include "lstmd/v1/admin_service.pb.h"

namespace lstmd::client {

enum class TopOrder { kRate, kSessions, kLatency, kName };

// How lstmctl top shows a server.
struct TopView {
  std::string server;
  int columns = 100;
  int rows = 40;        // 0: as many as there are
  bool color = false;   // escape sequences
  bool unicode = true;  // bars of block characters; without, of ASCII
  bool keys = false;    // a line that names them
  bool paused = false;
  TopOrder order = TopOrder::kRate;
  std::string problem;  // why the numbers are old; empty: they are not
};

// Lines of at most view.columns characters, at most view.rows of them.
std::vector<std::string> RenderTop(const v1::ServerStats& stats, const TopView& view);

// "127,780", "41.1": three or more digits.
std::string ShortNumber(double value);
// "0.332 ms", "98 us".
std::string ShortTime(double seconds);

}  // namespace lstmd::client

#endif  // LSTMD_CLIENT_LSTMCTL_TOP_VIEW_H_
