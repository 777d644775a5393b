// SPDX-License-Identifier: Apache-2.0
#include "engine/model.h"

#include "engine/engine.h"

namespace lstmd {

bool Model::AddSession() {
  MutexLock lock(&mutex_);
  if (closed()) return false;
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

const ModelSpec& SpecOf(const Model& model) { return model.spec(); }
int64_t VersionOf(const Model& model) { return model.version(); }
const std::string& NameOf(const Model& model) { return model.name(); }

}  // namespace lstmd
