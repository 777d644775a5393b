// SPDX-License-Identifier: Apache-2.0
#include "engine/cpu/kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/cpu/kernels.cc"
#include "hwy/foreach_target.h"  // includes this file once for each instruction set
// The above comes first.
#include "engine/cpu/step_kernel-inl.h"

#if HWY_ONCE
#if HWY_ARCH_X86
#include <cpuid.h>
#endif

namespace lstmd::cpu {

HWY_EXPORT(GetKernels);
HWY_EXPORT(GetBf16Kernels);

namespace {

// AVX512-BF16, of the processor; that the system keeps the registers is AVX3's business.
bool HasBf16Products() {
#if HWY_ARCH_X86
  unsigned eax, ebx, ecx, edx;
  return __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) != 0 && (eax & (1u << 5)) != 0;
#else
  return false;
#endif
}

// All that are compiled in and run here, best first.
std::vector<const Kernels*> AllKernels() {
  std::vector<const Kernels*> all;
#if HWY_IDE || (HWY_TARGETS & (HWY_TARGETS - 1)) == 0
  all.push_back(HWY_STATIC_DISPATCH(GetKernels)());
#else
  // Lower bits are better.
  for (int64_t rest = hwy::SupportedTargets() & HWY_TARGETS; rest != 0; rest &= rest - 1) {
    // As HWY_DYNAMIC_DISPATCH, with a choice of our own instead of the process's.
    hwy::ChosenTarget chosen;
    chosen.Update(rest & ~(rest - 1));
    const Kernels* bf16 = HWY_DISPATCH_TABLE(GetBf16Kernels)[chosen.GetIndex()]();
    if (bf16 != nullptr && HasBf16Products()) all.push_back(bf16);
    all.push_back(HWY_DISPATCH_TABLE(GetKernels)[chosen.GetIndex()]());
  }
#endif
  return all;
}

}  // namespace

const Kernels* FindKernels(std::string_view instruction_set) {
  for (const Kernels* kernels : AllKernels()) {
    if (instruction_set.empty() || instruction_set == kernels->name) return kernels;
  }
  return nullptr;
}

std::vector<std::string> KernelNames() {
  std::vector<std::string> names;
  for (const Kernels* kernels : AllKernels()) names.emplace_back(kernels->name);
  return names;
}

}  // namespace lstmd::cpu
#endif  // HWY_ONCE
