// SPDX-License-Identifier: Apache-2.0
#include "engine/cpu/kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/cpu/kernels.cc"
#include "hwy/foreach_target.h"  // includes this file once for each instruction set
// The above comes first.
#include "engine/cpu/step_kernel-inl.h"

#if HWY_ONCE
namespace lstmd::cpu {

HWY_EXPORT(GetKernels);

namespace {

// Bits of all instruction sets that are compiled in and run here; lower bits are better.
int64_t Targets() { return hwy::SupportedTargets() & HWY_TARGETS; }

const Kernels* KernelsOf(int64_t target) {
#if HWY_IDE || (HWY_TARGETS & (HWY_TARGETS - 1)) == 0
  (void)target;
  return HWY_STATIC_DISPATCH(GetKernels)();
#else
  // As HWY_DYNAMIC_DISPATCH, with a choice of our own instead of the process's.
  hwy::ChosenTarget chosen;
  chosen.Update(target);
  return HWY_DISPATCH_TABLE(GetKernels)[chosen.GetIndex()]();
#endif
}

}  // namespace

const Kernels* FindKernels(std::string_view instruction_set) {
  for (int64_t rest = Targets(); rest != 0; rest &= rest - 1) {
    const int64_t target = rest & ~(rest - 1);
    if (instruction_set.empty() || instruction_set == hwy::TargetName(target)) return KernelsOf(target);
  }
  return instruction_set.empty() ? HWY_STATIC_DISPATCH(GetKernels)() : nullptr;
}

std::vector<std::string> KernelNames() {
  std::vector<std::string> names;
  for (int64_t rest = Targets(); rest != 0; rest &= rest - 1) names.emplace_back(hwy::TargetName(rest & ~(rest - 1)));
  return names;
}

}  // namespace lstmd::cpu
#endif  // HWY_ONCE
