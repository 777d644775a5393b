// SPDX-License-Identifier: Apache-2.0
//
// Threads for the time of one long job: reading, hashing and packing weights. What a step splits has a pool of its own
// (engine/cpu/thread_pool.h).
#ifndef LSTMD_ENGINE_PARALLEL_FOR_H_
#define LSTMD_ENGINE_PARALLEL_FOR_H_

#include <cstddef>
#include <functional>

namespace lstmd {

// Calls work(item) for every item 0 … items-1, each once, on up to one thread a core (at most 8), the caller's among
// them; returns when all are done. Fewer threads where the system gives no more. REQUIRES: `work` may run on several
// threads at once and does not throw.
void ParallelFor(size_t items, const std::function<void(size_t)>& work);

}  // namespace lstmd

#endif  // LSTMD_ENGINE_PARALLEL_FOR_H_
