# SPDX-License-Identifier: Apache-2.0
add_library(lstmd_cpu STATIC
  cpu/aligned_buffer.cc cpu/batch_run.cc cpu/cell_runner.cc cpu/cpu_backend.cc cpu/kernels.cc cpu/packed_weights.cc cpu/panels.cc
  cpu/rows_run.cc cpu/sequence_run.cc cpu/state_pool.cc cpu/thread_pool.cc)
# Fused multiply-adds are where the kernel says so and nowhere else: what a compiler fuses could differ between the
# instances of a template, and with it the bits of a row.
set(kernel_options -ffp-contract=off)
if(LSTMD_SANITIZE)
  # With all checks on all instruction sets this file takes ten minutes: two sets between the first and the last fewer,
  # and of the checks those of AddressSanitizer or ThreadSanitizer alone.
  list(APPEND kernel_options -fno-sanitize=undefined "-DHWY_DISABLED_TARGETS=(HWY_SSE4|HWY_SSSE3)")
endif()
set_source_files_properties(cpu/kernels.cc PROPERTIES COMPILE_OPTIONS "${kernel_options}")
target_link_libraries(lstmd_cpu PUBLIC lstmd_model_files PRIVATE PkgConfig::hwy Threads::Threads)
