// SPDX-License-Identifier: Apache-2.0
//
// Makes the synchronisation of Debian's libraries visible to ThreadSanitizer. They are not instrumented, so that it
// sees neither Abseil's locks, on which gRPC is built, nor the way of a completion through gRPC's lock-free queues, and
// would call every object that is handed over a race. Here those few functions are interposed: each does what the
// library's does, and says so. Linked into every program of the tsan preset (tests/cmake/Options.cmake); nowhere else.
#include <dlfcn.h>
#include <grpc/grpc.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <utility>

#include "absl/synchronization/mutex.h"
#include "grpcpp/support/server_callback.h"

extern "C" void __tsan_acquire(void* address);
extern "C" void __tsan_release(void* address);

// What the libraries themselves do with memory is not ours to check.
extern "C" const char* __tsan_default_options() { return "ignore_noninstrumented_modules=1:second_deadlock_stack=1"; }

// Streams of unknown messages (the proxy of tests/faults) are made and ended within the library, so that the edge from
// the last reaction to the end cannot be seen.
extern "C" const char* __tsan_default_suppressions() {
  return "race:CallbackBidiHandler<grpc::ByteBuffer, grpc::ByteBuffer>::ServerCallbackReaderWriterImpl::~\n";
}

namespace {

// The library's own definition of the function `name`.
template <typename F>
F Next(const char* name) {
  void* const found = dlsym(RTLD_NEXT, name);
  if (found == nullptr) {
    std::fprintf(stderr, "library_edges: no %s in the libraries\n", name);
    std::abort();
  }
  return reinterpret_cast<F>(found);
}

// A tag is a functor with a function first, or, for synchronous calls, an object with a virtual table first.
bool IsFunction(uintptr_t address) {
  std::FILE* const maps = std::fopen("/proc/self/maps", "r");
  if (maps == nullptr) return false;
  bool executable = false;
  char line[512];
  while (std::fgets(line, sizeof line, maps) != nullptr) {
    uint64_t begin, end;
    char flags[5];
    if (std::sscanf(line, "%lx-%lx %4s", &begin, &end, flags) == 3 && begin <= address && address < end) {
      executable = flags[2] == 'x';
    }
  }
  std::fclose(maps);
  return executable;
}

using Functor = grpc_completion_queue_functor;
using Run = void (*)(Functor*, int);

// gRPC has few kinds of functors; each gets a function of ours that runs first.
constexpr size_t kKinds = 16;
std::array<std::atomic<Run>, kKinds> original;
std::array<std::atomic<Run>, kKinds> no_function;  // first words of tags that are no functors

template <size_t kind>
void RunAfterAcquire(Functor* functor, int ok) {
  __tsan_acquire(functor);
  original[kind].load(std::memory_order_relaxed)(functor, ok);
}

template <size_t... kinds>
constexpr std::array<Run, kKinds> Table(std::index_sequence<kinds...>) {
  return {RunAfterAcquire<kinds>...};
}
constexpr std::array<Run, kKinds> ours = Table(std::make_index_sequence<kKinds>());

// Finds `run` in `table`, or puts it there. kKinds: it is full.
size_t FindOrAdd(std::array<std::atomic<Run>, kKinds>& table, Run run) {
  for (size_t kind = 0; kind < kKinds; ++kind) {
    Run there = nullptr;
    if (table[kind].compare_exchange_strong(there, run) || there == run) return kind;
  }
  return kKinds;
}

bool Contains(const std::array<std::atomic<Run>, kKinds>& table, Run run) {
  for (const std::atomic<Run>& there : table) {
    if (there.load(std::memory_order_relaxed) == run) return true;
  }
  return false;
}

// What happened before now has happened before the completion of `tag`.
void PassOn(void* tag) {
  if (tag == nullptr) return;
  __tsan_release(tag);
  auto* const functor = static_cast<Functor*>(tag);
  const Run run = functor->functor_run;
  for (const Run our : ours) {
    if (run == our) return;
  }
  if (Contains(no_function, run)) return;
  if (!Contains(original, run) && !IsFunction(reinterpret_cast<uintptr_t>(run))) {
    FindOrAdd(no_function, run);
    return;
  }
  const size_t kind = FindOrAdd(original, run);
  if (kind < kKinds) functor->functor_run = ours[kind];
}

}  // namespace

extern "C" grpc_call_error grpc_call_start_batch(grpc_call* call, const grpc_op* ops, size_t count, void* tag,
                                                 void* reserved) {
  static const auto next = Next<decltype(&grpc_call_start_batch)>("grpc_call_start_batch");
  PassOn(tag);
  return next(call, ops, count, tag, reserved);
}

// A server call hears of a cancellation, and ends, on threads of gRPC's executor, which the library hands it to unseen.
// The same on threads of our own: whoever starts a thread has gone before it.
namespace grpc::internal {

void ServerCallbackCall::CallOnCancel(ServerReactor* reactor) {
  if (reactor->InternalInlineable()) {
    reactor->OnCancel();
    return;
  }
  Ref();
  std::thread([this, reactor] {
    reactor->OnCancel();
    MaybeDone();
  }).detach();
}

void ServerCallbackCall::ScheduleOnDone(bool inline_ondone) {
  // The last reference may have been given back where no edge is seen.
  __tsan_acquire(&callbacks_outstanding_);
  if (inline_ondone) {
    CallOnDone();
  } else {
    std::thread([this] { CallOnDone(); }).detach();
  }
}

}  // namespace grpc::internal

namespace absl {
ABSL_NAMESPACE_BEGIN

// The mangled names are those of Debian's Abseil, whose inline namespace is its own; another one ends with an error.
void Mutex::Lock() {
  static const auto next = Next<void (*)(Mutex*)>("_ZN4absl7debian35Mutex4LockEv");
  next(this);
  __tsan_acquire(this);
}

void Mutex::Unlock() {
  static const auto next = Next<void (*)(Mutex*)>("_ZN4absl7debian35Mutex6UnlockEv");
  __tsan_release(this);
  next(this);
}

bool Mutex::TryLock() {
  static const auto next = Next<bool (*)(Mutex*)>("_ZN4absl7debian35Mutex7TryLockEv");
  const bool locked = next(this);
  if (locked) __tsan_acquire(this);
  return locked;
}

void CondVar::Wait(Mutex* mutex) {
  static const auto next = Next<void (*)(CondVar*, Mutex*)>("_ZN4absl7debian37CondVar4WaitEPNS0_5MutexE");
  __tsan_release(mutex);
  next(this, mutex);
  __tsan_acquire(mutex);
}

bool CondVar::WaitWithTimeout(Mutex* mutex, Duration timeout) {
  static const auto next = Next<bool (*)(CondVar*, Mutex*, Duration)>(
      "_ZN4absl7debian37CondVar15WaitWithTimeoutEPNS0_5MutexENS0_8DurationE");
  __tsan_release(mutex);
  const bool late = next(this, mutex, timeout);
  __tsan_acquire(mutex);
  return late;
}

bool CondVar::WaitWithDeadline(Mutex* mutex, Time deadline) {
  static const auto next =
      Next<bool (*)(CondVar*, Mutex*, Time)>("_ZN4absl7debian37CondVar16WaitWithDeadlineEPNS0_5MutexENS0_4TimeE");
  __tsan_release(mutex);
  const bool late = next(this, mutex, deadline);
  __tsan_acquire(mutex);
  return late;
}

ABSL_NAMESPACE_END
}  // namespace absl
