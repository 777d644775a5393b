// SPDX-License-Identifier: Apache-2.0
#include "tests/support/fake_store.h"

namespace lstmd {
namespace {

absl::Status Apply(const StoreWrite& write, FakeStoreData* data) ABSL_EXCLUSIVE_LOCKS_REQUIRED(data->mutex) {
  const std::pair<std::string, std::string> key(write.key.model, write.key.id);
  const auto it = data->sessions.find(key);
  const bool exists = it != data->sessions.end();
  const bool ours = exists && it->second.stored.claim == write.claim;
  switch (write.kind) {
    case StoreWrite::Kind::kCreate:
      if (exists && !ours) return StoreExists(write.key);
      break;
    case StoreWrite::Kind::kUpdate:
      if (!ours) return StoreFenced(write.key, exists ? it->second.stored.owner : "");
      break;
    case StoreWrite::Kind::kErase:
      if (exists && !ours) return StoreFenced(write.key, it->second.stored.owner);
      if (exists) data->sessions.erase(it);
      return absl::OkStatus();
  }
  FakeStoreData::Session& session = data->sessions[key];
  StoredSession& stored = session.stored;
  stored.epoch = write.epoch;
  stored.claim = write.claim;
  stored.owner = write.owner;
  stored.head = write.head;
  session.due = write.due;
  ++session.writes;
  if (write.all_replies) stored.replies.clear();
  for (const StoredReply& reply : write.replies) {
    bool replaced = false;
    for (StoredReply& old : stored.replies) {
      if (old.place != reply.place) continue;
      old = reply;
      replaced = true;
    }
    if (!replaced) stored.replies.push_back(reply);
  }
  return absl::OkStatus();
}

}  // namespace

void FakeStoreControl::Fail(absl::Status status) {
  MutexLock lock(&mutex_);
  failure_ = std::move(status);
}

void FakeStoreControl::LoseAnswers(absl::Status status) {
  MutexLock lock(&mutex_);
  lost_ = std::move(status);
}

void FakeStoreControl::Block() {
  MutexLock lock(&mutex_);
  blocked_ = true;
}

void FakeStoreControl::Unblock() {
  MutexLock lock(&mutex_);
  blocked_ = false;
  changed_.SignalAll();
}

void FakeStoreControl::Release() {
  MutexLock lock(&mutex_);
  ++permits_;
  changed_.SignalAll();
}

void FakeStoreControl::WaitUntilBlocked() {
  MutexLock lock(&mutex_);
  while (waiting_ == 0) changed_.Wait(&mutex_);
}

absl::Status FakeStoreControl::Start() {
  MutexLock lock(&mutex_);
  return failure_;
}

void FakeStoreControl::WaitAtBlock() {
  MutexLock lock(&mutex_);
  ++waiting_;
  changed_.SignalAll();
  while (blocked_ && permits_ == 0) changed_.Wait(&mutex_);
  --waiting_;
  if (blocked_) --permits_;
}

absl::Status FakeStoreControl::LostAnswer() {
  MutexLock lock(&mutex_);
  return lost_;
}

std::vector<absl::Status> FakeStore::Write(absl::Span<const StoreWrite> writes) {
  control_->WaitAtBlock();
  std::vector<absl::Status> statuses(writes.size(), control_->Start());
  if (writes.empty() || !statuses[0].ok()) return statuses;
  {
    MutexLock lock(&data_->mutex);
    ++data_->groups;
    data_->writes += writes.size();
    for (size_t i = 0; i < writes.size(); ++i) statuses[i] = Apply(writes[i], data_.get());
  }
  const absl::Status lost = control_->LostAnswer();
  if (!lost.ok()) statuses.assign(writes.size(), lost);
  return statuses;
}

absl::StatusOr<StoredSession> FakeStore::Claim(const StoreKey& key, uint64_t claim, std::string_view owner) {
  if (absl::Status status = control_->Start(); !status.ok()) return status;
  MutexLock lock(&data_->mutex);
  const auto it = data_->sessions.find({key.model, key.id});
  if (it == data_->sessions.end()) return StoreNotFound(key);
  StoredSession& stored = it->second.stored;
  const bool released = stored.owner.empty();
  ++stored.epoch;
  stored.claim = claim;
  stored.owner = owner;
  it->second.due = absl::InfiniteFuture();
  StoredSession answer = stored;
  answer.released = released;
  return answer;
}

absl::StatusOr<StoredSession> FakeStore::Read(const StoreKey& key) {
  if (absl::Status status = control_->Start(); !status.ok()) return status;
  MutexLock lock(&data_->mutex);
  const auto it = data_->sessions.find({key.model, key.id});
  if (it == data_->sessions.end()) return StoreNotFound(key);
  StoredSession answer = it->second.stored;
  answer.released = answer.owner.empty();
  return answer;
}

absl::StatusOr<uint64_t> FakeStore::Sweep(absl::Time time) {
  if (absl::Status status = control_->Start(); !status.ok()) return status;
  MutexLock lock(&data_->mutex);
  uint64_t swept = 0;
  for (auto it = data_->sessions.begin(); it != data_->sessions.end();) {
    const bool due = it->second.due < time;
    swept += due ? 1 : 0;
    it = due ? data_->sessions.erase(it) : std::next(it);
  }
  return swept;
}

absl::Status FakeStore::Check() { return control_->Start(); }

}  // namespace lstmd
