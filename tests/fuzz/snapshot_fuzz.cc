// SPDX-License-Identifier: Apache-2.0
//
// Any bytes as a snapshot and as a reply. What is read must be written as the same bytes again. The checksum is mended
// first, or nothing behind it would ever be read.
#include <cstdlib>
#include <cstring>
#include <string>

#include "engine/snapshot.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string bytes(reinterpret_cast<const char*>(data), size);
  if (bytes.size() >= 12) {
    const uint32_t checksum = lstmd::Crc32c(std::string_view(bytes).substr(12));
    std::memcpy(bytes.data() + 8, &checksum, sizeof checksum);
  }
  const absl::StatusOr<lstmd::Snapshot> snapshot = lstmd::DecodeSnapshot(bytes);
  if (snapshot.ok() && lstmd::EncodeSnapshot(*snapshot) != bytes) std::abort();
  const absl::StatusOr<lstmd::Reply> reply = lstmd::DecodeReply(bytes);
  if (reply.ok() && lstmd::EncodeReply(*reply) != bytes) std::abort();
  return 0;
}
