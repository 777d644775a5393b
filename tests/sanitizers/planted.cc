// SPDX-License-Identifier: Apache-2.0
//
// One fault that a sanitizer must find, so that a green run under it means something: `planted race|memory|arithmetic`.
#include <climits>
#include <cstdio>
#include <string>
#include <thread>
#include <vector>

int main(int argc, char** argv) {
  const std::string fault = argc > 1 ? argv[1] : "";
  int value = argc;
  if (fault == "race") {
    std::thread other([&value] { ++value; });
    ++value;
    other.join();
  } else if (fault == "memory") {
    std::vector<int> values(static_cast<size_t>(argc));
    value = values.data()[argc];
  } else if (fault == "arithmetic") {
    value += INT_MAX;
  } else {
    std::fprintf(stderr, "unknown fault '%s'\n", fault.c_str());
    return 0;  // which is a failure: the tests want another exit code
  }
  std::printf("%d\n", value);
  return 0;
}
