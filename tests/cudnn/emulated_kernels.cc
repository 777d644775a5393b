// SPDX-License-Identifier: Apache-2.0
//
// The kernels' bodies on the host, block by block and thread by thread as the device would number them.
#include <set>

#include "engine/cudnn/kernel_bodies.h"
#include "engine/cudnn/launch_shape.h"
#include "tests/cudnn/emulation.h"

namespace lstmd::cudnn {
namespace {

template <typename Args>
void RunGrid(const Args& args) {
  if (args.count() == 0) return;
  const uint32_t blocks = BlocksFor(args.count());
  for (uint32_t block = 0; block < blocks; ++block) {
    for (int thread = 0; thread < kThreadsPerBlock; ++thread) {
      const int64_t index = int64_t{block} * kThreadsPerBlock + thread;
      if (index < args.count()) Body(args, index);
    }
  }
}

template <typename Args>
cudaError_t Launch(const char* name, const Args& args, cudaStream_t stream, void (*check)(const Args&) = nullptr) {
  if (const auto entered = emulation::Enter(name); entered.fail) return static_cast<cudaError_t>(entered.error);
  const auto run = [args, check] {
    if (check != nullptr) check(args);
    RunGrid(args);
  };
  return emulation::Enqueue(stream, run) ? cudaSuccess : cudaErrorInvalidResourceHandle;
}

// Two rows of a batch must never end in one slot.
void CheckSlots(const MoveStateArgs& args) {
  if (args.way == MoveStateArgs::Way::kRowsToDense) return;
  std::set<const float*> seen;
  for (int32_t b = 0; b < args.rows; ++b) {
    if (args.write[b] != nullptr && !seen.insert(args.write[b]).second) {
      emulation::Violate("a slot stands twice in a batch");
    }
  }
}

void CheckOperand(const GatherArgs& args) {
  const size_t bytes = size_t(args.count()) * (args.element == Element::kF32 ? 4 : 2);
  if (!emulation::IsDeviceRange(args.operand, bytes)) emulation::Violate("gather writes outside its allocation");
}

}  // namespace

namespace emulation {

void BindKernels(DeviceApi* api) {
  api->launch_gather = [](const GatherArgs& a, cudaStream_t s) { return Launch("launch_gather", a, s, &CheckOperand); };
  api->launch_cell = [](const CellArgs& a, cudaStream_t s) { return Launch("launch_cell", a, s); };
  api->launch_store_hidden = [](const StoreHiddenArgs& a, cudaStream_t s) {
    return Launch("launch_store_hidden", a, s);
  };
  api->launch_move_state = [](const MoveStateArgs& a, cudaStream_t s) {
    return Launch("launch_move_state", a, s, &CheckSlots);
  };
  api->launch_merge = [](const MergeArgs& a, cudaStream_t s) { return Launch("launch_merge", a, s); };
  api->launch_head = [](const HeadArgs& a, cudaStream_t s) { return Launch("launch_head", a, s); };
  api->launch_convert = [](const ConvertArgs& a, cudaStream_t s) { return Launch("launch_convert", a, s); };
}

}  // namespace emulation
}  // namespace lstmd::cudnn
