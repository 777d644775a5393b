// SPDX-License-Identifier: Apache-2.0
#ifndef LSTMD_ENGINE_STORE_REDIS_STORE_H_
#define LSTMD_ENGINE_STORE_REDIS_STORE_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "engine/store/redis_connection.h"
#include "engine/store/state_store.h"

namespace lstmd {

// A Redis server (5 or newer) that replicas share. How safe a write is when it is acknowledged is Redis's to say:
// with `appendonly yes` a killed Redis loses nothing, with `appendfsync always` a machine that loses power neither. A
// store that cannot be reached yet is not an error: it is tried again with each call. SIGPIPE is ignored from now on,
// where it would end the process.
std::unique_ptr<StateStore> OpenRedisStore(RedisAddress address, std::string password = "");

}  // namespace lstmd

#endif  // LSTMD_ENGINE_STORE_REDIS_STORE_H_
