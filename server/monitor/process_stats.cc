// SPDX-License-Identifier: Apache-2.0
#include "server/monitor/process_stats.h"

#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

namespace lstmd::server {

v1::ProcessStats ReadProcessStats() {
  v1::ProcessStats stats;
  std::ifstream file("/proc/self/stat");
  std::string text;
  std::getline(file, text);
  // The second field, the program's name, may hold anything; the last parenthesis ends it.
  if (const size_t end = text.rfind(')'); end != std::string::npos) {
    std::istringstream fields(text.substr(end + 1));
    std::string skipped;
    for (int i = 3; i < 14; ++i) fields >> skipped;
    uint64_t user = 0;
    uint64_t system = 0;
    uint64_t threads = 0;
    uint64_t virtual_bytes = 0;
    uint64_t resident_pages = 0;
    fields >> user >> system >> skipped >> skipped >> skipped >> skipped >> threads >> skipped >> skipped >>
        virtual_bytes >> resident_pages;
    stats.set_cpu_seconds(static_cast<double>(user + system) / static_cast<double>(sysconf(_SC_CLK_TCK)));
    stats.set_threads(static_cast<uint32_t>(threads));
    stats.set_virtual_bytes(virtual_bytes);
    stats.set_resident_bytes(resident_pages * static_cast<uint64_t>(sysconf(_SC_PAGESIZE)));
  }
  std::error_code error;
  uint32_t files = 0;
  for (std::filesystem::directory_iterator it("/proc/self/fd", error), end; !error && it != end; it.increment(error)) {
    ++files;
  }
  stats.set_open_fds(files == 0 ? 0 : files - 1);  // without the one that reads the list
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) stats.set_max_fds(limit.rlim_cur);
  return stats;
}

}  // namespace lstmd::server
