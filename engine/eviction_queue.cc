// SPDX-License-Identifier: Apache-2.0
#include "engine/eviction_queue.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "engine/names.h"
#include "engine/scheduler.h"

namespace lstmd {

std::shared_ptr<Session> EvictionQueue::Next(const SessionStore& store, std::string_view model,
                                             std::string_view owner) {
  MutexLock lock(&mutex_);
  const auto it = candidates_.try_emplace({std::string(model), std::string(owner)}).first;
  Candidates& candidates = it->second;
  // Twice: what is left of an earlier look, and a new one.
  for (int look = 0; look < 2; ++look) {
    while (!candidates.empty()) {
      const Candidate candidate = std::move(candidates.front());
      candidates.pop_front();
      const std::shared_ptr<Session> session = candidate.session.lock();
      if (session != nullptr && session->model()->scheduler().Evict(*session, candidate.last_used)) return session;
    }
    if (look == 0) candidates = Look(store, model, owner);
  }
  candidates_.erase(it);
  return nullptr;
}

EvictionQueue::Candidates EvictionQueue::Look(const SessionStore& store, std::string_view model,
                                              std::string_view owner) {
  const auto used_before = [](const Candidate& a, const Candidate& b) { return a.last_used < b.last_used; };
  std::vector<Candidate> heap;  // the most recently used in front, the first to go
  store.ForEach([&](const std::shared_ptr<Session>& session) {
    if (session->end() != SessionEnd::kNone || (model != "-" && session->model()->name() != model) ||
        OwnerOf(session->id()) != owner) {
      return;
    }
    const absl::Time last_used = session->last_used();
    if (heap.size() == kCandidates) {
      if (last_used >= heap.front().last_used) return;
      std::pop_heap(heap.begin(), heap.end(), used_before);
      heap.pop_back();
    }
    heap.push_back({last_used, session});
    std::push_heap(heap.begin(), heap.end(), used_before);
  });
  std::sort_heap(heap.begin(), heap.end(), used_before);
  return Candidates(std::make_move_iterator(heap.begin()), std::make_move_iterator(heap.end()));
}

}  // namespace lstmd
