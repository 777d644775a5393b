// SPDX-License-Identifier: Apache-2.0
#include "tests/cudnn/emulation.h"

#include <cstdlib>
#include <map>
#include <sstream>

#include "engine/mutex.h"

namespace lstmd::cudnn {
namespace {

struct Injection {
  int countdown = 0;
  int error = 0;
};

struct Ledger {
  Mutex mutex;
  std::vector<std::string> violations ABSL_GUARDED_BY(mutex);
  std::map<std::string, int> calls ABSL_GUARDED_BY(mutex);
  std::map<std::string, Injection> injections ABSL_GUARDED_BY(mutex);
  size_t live ABSL_GUARDED_BY(mutex) = 0;
};

Ledger& TheLedger() {
  static auto* ledger = new Ledger;
  return *ledger;
}

}  // namespace

const DeviceApi& EmulatedApi() {
  static const DeviceApi api = [] {
    // For whole programs under test: "FUNCTION NTH ERROR" as for FailCall.
    if (const char* failure = std::getenv("LSTMD_EMULATED_FAILURE"); failure != nullptr) {
      std::istringstream words(failure);
      std::string function;
      int nth = 0, error = 0;
      if (words >> function >> nth >> error) FailCall(function, nth, error);
    }
    DeviceApi bound;
    emulation::BindCuda(&bound);
    emulation::BindKernels(&bound);
    emulation::BindBlas(&bound);
    emulation::BindDnn(&bound);
    emulation::BindDnnForward(&bound);
    return bound;
  }();
  return api;
}

void ResetEmulation() {
  {
    Ledger& ledger = TheLedger();
    MutexLock lock(&ledger.mutex);
    ledger.violations.clear();
    ledger.calls.clear();
    ledger.injections.clear();
  }
  LimitDeviceMemory(0);
}

std::vector<std::string> Violations() {
  MutexLock lock(&TheLedger().mutex);
  return TheLedger().violations;
}

size_t LiveObjects() {
  MutexLock lock(&TheLedger().mutex);
  return TheLedger().live;
}

int CallsTo(const std::string& function) {
  MutexLock lock(&TheLedger().mutex);
  return TheLedger().calls[function];
}

void FailCall(const std::string& function, int nth, int error) {
  MutexLock lock(&TheLedger().mutex);
  TheLedger().injections[function] = {nth, error};
}

namespace emulation {

Entered Enter(const char* function) {
  MutexLock lock(&TheLedger().mutex);
  ++TheLedger().calls[function];
  const auto found = TheLedger().injections.find(function);
  if (found == TheLedger().injections.end() || --found->second.countdown > 0) return {};
  const Entered failing{true, found->second.error};
  TheLedger().injections.erase(found);
  return failing;
}

void Violate(const std::string& rule) {
  MutexLock lock(&TheLedger().mutex);
  TheLedger().violations.push_back(rule);
}

void ObjectMade() {
  MutexLock lock(&TheLedger().mutex);
  ++TheLedger().live;
}

void ObjectGone() {
  MutexLock lock(&TheLedger().mutex);
  --TheLedger().live;
}

}  // namespace emulation
}  // namespace lstmd::cudnn
