// SPDX-License-Identifier: Apache-2.0
#ifndef LSTMD_SERVER_MONITOR_STATUS_FILES_H_
#define LSTMD_SERVER_MONITOR_STATUS_FILES_H_

#include <string_view>
#include <vector>

namespace lstmd::server {

// A file of server/status, built into the program (server/monitor/embed.cmake).
struct StatusFile {
  std::string_view path;  // "/", "/status.js"
  std::string_view type;  // "text/html; charset=utf-8"
  std::string_view content;
};

const std::vector<StatusFile>& StatusFiles();

}  // namespace lstmd::server

#endif  // LSTMD_SERVER_MONITOR_STATUS_FILES_H_
