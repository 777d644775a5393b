// SPDX-License-Identifier: Apache-2.0
#ifndef LSTMD_TESTS_ENGINE_DURABLE_FIXTURE_H_
#define LSTMD_TESTS_ENGINE_DURABLE_FIXTURE_H_

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/engine/fixture.h"
#include "tests/support/fake_store.h"

namespace lstmd {

// An engine with a fake store, which survives it. The ring is small, so that its places are used again.
class DurableTest : public EngineTest {
 protected:
  DurableTest() {
    options_.sessions.replay_ring = 4;
    options_.store = std::make_shared<FakeStore>(data_, store_control_);
  }
  ~DurableTest() override { store_control_->Unblock(); }

  void StartWith(Durability durability) {
    options_.durability.durability = durability;
    Start();
    AddSmall();
  }

  // Ends the engine with nothing more written, and starts another.
  void Crash() {
    control_->Unblock();
    engine_.reset();
    store_control_->Unblock();
    Start();
    AddSmall();
  }

  // Of an input that depends on the number alone.
  std::vector<float> Step(const std::string& id, uint64_t seq, bool* replayed = nullptr) {
    auto session = engine_->FindSession("m", id, false);
    if (!session.ok()) session = engine_->RestoreSession("m", id, false);
    EXPECT_TRUE(session.ok()) << session.status();
    if (!session.ok()) return {};
    auto job = MakeStep(*session, &sink_, static_cast<float>(seq), 1, seq);
    const absl::Status status = Run(job.get());
    EXPECT_TRUE(status.ok()) << status;
    if (replayed != nullptr) *replayed = job->work.replayed;
    return job->output;
  }

  Snapshot Stored(const std::string& id) {
    MutexLock lock(&data_->mutex);
    const auto it = data_->sessions.find({"m", id});
    EXPECT_NE(it, data_->sessions.end()) << id;
    if (it == data_->sessions.end()) return {};
    const auto snapshot = ToSnapshot(it->second.stored);
    EXPECT_TRUE(snapshot.ok()) << snapshot.status();
    return *snapshot;
  }
  uint64_t StoredSeq(const std::string& id) { return Stored(id).last_seq; }
  std::vector<uint64_t> StoredReplies(const std::string& id) {
    std::vector<uint64_t> seqs;
    for (const Reply& reply : Stored(id).replies) seqs.push_back(reply.seq);
    return seqs;
  }
  size_t Sessions() {
    MutexLock lock(&data_->mutex);
    return data_->sessions.size();
  }
  uint64_t Groups() {
    MutexLock lock(&data_->mutex);
    return data_->groups;
  }

  const std::shared_ptr<FakeStoreData> data_ = std::make_shared<FakeStoreData>();
  const std::shared_ptr<FakeStoreControl> store_control_ = std::make_shared<FakeStoreControl>();
};

}  // namespace lstmd

#endif  // LSTMD_TESTS_ENGINE_DURABLE_FIXTURE_H_
