// SPDX-License-Identifier: Apache-2.0
#ifndef LSTMD_TESTS_FAULTS_LOOPBACK_H_
#define LSTMD_TESTS_FAULTS_LOOPBACK_H_

#include <netinet/in.h>

#include <cstdint>

namespace lstmd {

inline sockaddr_in Loopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

}  // namespace lstmd

#endif  // LSTMD_TESTS_FAULTS_LOOPBACK_H_
