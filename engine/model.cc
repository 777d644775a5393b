// SPDX-License-Identifier: Apache-2.0
#include "engine/model.h"

#include <utility>

#include "engine/engine.h"

namespace lstmd {

Model::Model(ModelParts parts, std::shared_ptr<ModelVersion> version)
    : parts_(std::move(parts)),
      pool_h_(version->parts().initial_h),
      pool_c_(version->parts().initial_c),
      current_(std::move(version)),
      serving_(current_.get()) {}

std::shared_ptr<ModelVersion> Model::current() const {
  MutexLock lock(&mutex_);
  return current_;
}

std::shared_ptr<ModelVersion> Model::SetCurrent(std::shared_ptr<ModelVersion> version) {
  MutexLock lock(&mutex_);
  current_.swap(version);
  return version;
}

absl::StatusOr<Slot> Model::AllocateSlot(const ModelVersion& version) const {
  absl::StatusOr<Slot> slot = pool().Allocate();
  if (!slot.ok()) return slot;
  if (absl::Status status = FixInitialState(version, *slot); !status.ok()) {
    pool().Free(*slot);
    return status;
  }
  return slot;
}

absl::Status Model::ResetSlot(const ModelVersion& version, Slot slot) const {
  absl::Status status = pool().Reset(slot);
  return status.ok() ? FixInitialState(version, slot) : status;
}

absl::Status Model::FixInitialState(const ModelVersion& version, Slot slot) const {
  const ModelVersion::Parts& parts = version.parts();
  if (parts.initial_h == pool_h_ && parts.initial_c == pool_c_) return absl::OkStatus();
  return pool().Write(slot, parts.initial_h, parts.initial_c);
}

bool Model::AddSession(bool retired_too) {
  MutexLock lock(&mutex_);
  if (closed() || released_ || (retired_ && !retired_too)) return false;
  ++sessions_;
  return true;
}

void Model::RemoveSession() {
  MutexLock lock(&mutex_);
  --sessions_;
}

int64_t Model::sessions() const {
  MutexLock lock(&mutex_);
  return sessions_;
}

int64_t Model::Close(bool force) {
  MutexLock lock(&mutex_);
  if (sessions_ == 0 || force) closed_.store(true, std::memory_order_release);
  return sessions_;
}

void Model::Retire() {
  MutexLock lock(&mutex_);
  retired_ = true;
}

void Model::Reinstate() {
  MutexLock lock(&mutex_);
  retired_ = false;
}

bool Model::retired() const {
  MutexLock lock(&mutex_);
  return retired_;
}

bool Model::Release() {
  MutexLock lock(&mutex_);
  if (sessions_ != 0 || !retired_) return false;
  return released_ = true;
}

const ModelSpec& SpecOf(const Model& model) { return model.spec(); }
int64_t VersionOf(const Model& model) { return model.version(); }
const std::string& NameOf(const Model& model) { return model.name(); }

}  // namespace lstmd
