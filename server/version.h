// SPDX-License-Identifier: Apache-2.0
#ifndef LSTMD_SERVER_VERSION_H_
#define LSTMD_SERVER_VERSION_H_

namespace lstmd::server {

// Of the program, from the project's CMakeLists.txt.
inline constexpr char kVersion[] = LSTMD_VERSION;

}  // namespace lstmd::server

#endif  // LSTMD_SERVER_VERSION_H_
