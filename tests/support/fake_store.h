// SPDX-License-Identifier: Apache-2.0
//
// A store in memory that fails, hangs and cuts off where a test says. Several engines may share the data of one: each
// through a FakeStore of its own.
#ifndef LSTMD_TESTS_SUPPORT_FAKE_STORE_H_
#define LSTMD_TESTS_SUPPORT_FAKE_STORE_H_

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/mutex.h"
#include "engine/store/state_store.h"

namespace lstmd {

// What survives. Thread-safe.
struct FakeStoreData {
  struct Session {
    StoredSession stored;  // replies in order of place
    absl::Time due;
    uint64_t writes = 0;
  };
  Mutex mutex;
  std::map<std::pair<std::string, std::string>, Session> sessions ABSL_GUARDED_BY(mutex);
  uint64_t groups ABSL_GUARDED_BY(mutex) = 0;  // calls of Write that were carried out
  uint64_t writes ABSL_GUARDED_BY(mutex) = 0;  // changes in them
};

// What a test does to one engine's way to the store; outlives it. Thread-safe.
class FakeStoreControl {
 public:
  // Every call fails with `status` from now on, changing nothing; OK: none does.
  void Fail(absl::Status status);
  // Calls of Write are carried out, and answer `status` all the same: the answer was lost.
  void LoseAnswers(absl::Status status);
  // Calls of Write stop before they change anything, until Unblock.
  void Block();
  void Unblock();
  // Lets one call through.
  void Release();
  // Waits until a call of Write stands at the block.
  void WaitUntilBlocked();

 private:
  friend class FakeStore;
  absl::Status Start() ABSL_LOCKS_EXCLUDED(mutex_);
  void WaitAtBlock() ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status LostAnswer() ABSL_LOCKS_EXCLUDED(mutex_);

  Mutex mutex_;
  CondVar changed_;
  absl::Status failure_ ABSL_GUARDED_BY(mutex_);
  absl::Status lost_ ABSL_GUARDED_BY(mutex_);
  bool blocked_ ABSL_GUARDED_BY(mutex_) = false;
  int permits_ ABSL_GUARDED_BY(mutex_) = 0;
  int waiting_ ABSL_GUARDED_BY(mutex_) = 0;
};

class FakeStore final : public StateStore {
 public:
  FakeStore(std::shared_ptr<FakeStoreData> data, std::shared_ptr<FakeStoreControl> control)
      : data_(std::move(data)), control_(std::move(control)) {}

  std::vector<absl::Status> Write(absl::Span<const StoreWrite> writes) override;
  absl::StatusOr<StoredSession> Claim(const StoreKey& key, uint64_t claim, std::string_view owner) override;
  absl::StatusOr<StoredSession> Read(const StoreKey& key) override;
  absl::StatusOr<uint64_t> Sweep(absl::Time time) override;
  absl::Status Check() override;
  std::string description() const override { return "a fake for tests"; }

 private:
  const std::shared_ptr<FakeStoreData> data_;
  const std::shared_ptr<FakeStoreControl> control_;
};

}  // namespace lstmd

#endif  // LSTMD_TESTS_SUPPORT_FAKE_STORE_H_
