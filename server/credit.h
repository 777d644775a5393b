// SPDX-License-Identifier: Apache-2.0
#ifndef LSTMD_SERVER_CREDIT_H_
#define LSTMD_SERVER_CREDIT_H_

#include <cstdint>

namespace lstmd::server {

// What counts against the bounds of a stream, from when it is accepted until its reply is written.
struct Credit {
  uint64_t items = 0;
  uint64_t bytes = 0;

  Credit& operator+=(const Credit& other) {
    items += other.items;
    bytes += other.bytes;
    return *this;
  }
  Credit& operator-=(const Credit& other) {
    items -= other.items;
    bytes -= other.bytes;
    return *this;
  }
};

}  // namespace lstmd::server

#endif  // LSTMD_SERVER_CREDIT_H_
