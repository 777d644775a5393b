// SPDX-License-Identifier: Apache-2.0
#ifndef LSTMD_ENGINE_STORE_ROCKS_STORE_H_
#define LSTMD_ENGINE_STORE_ROCKS_STORE_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "engine/store/state_store.h"

namespace lstmd {

// A RocksDB in `folder`, made if there is none; of one process at a time. A Write is one batch and one fsync of the
// log, so what waits while one is under way is safe with the next. UNAVAILABLE / STORE_UNAVAILABLE when the folder
// cannot be used, or is by another process.
absl::StatusOr<std::unique_ptr<StateStore>> OpenRocksStore(const std::string& folder);

}  // namespace lstmd

#endif  // LSTMD_ENGINE_STORE_ROCKS_STORE_H_
