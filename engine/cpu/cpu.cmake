# SPDX-License-Identifier: Apache-2.0
add_library(lstmd_cpu STATIC
  cpu/aligned_buffer.cc cpu/batch_run.cc cpu/cell_runner.cc cpu/cpu_backend.cc cpu/kernels.cc cpu/packed_weights.cc cpu/panels.cc
  cpu/rows_run.cc cpu/sequence_run.cc cpu/state_pool.cc cpu/thread_pool.cc)
# Fused multiply-adds are where the kernel says so and nowhere else: what a compiler fuses could differ between the
# instances of a template, and with it the bits of a row.
set_source_files_properties(cpu/kernels.cc PROPERTIES COMPILE_OPTIONS
  # Sanitized builds are compiled at -O1, which would make the instruction sets without vectors slower than a test may be.
  "-ffp-contract=off;$<$<BOOL:${LSTMD_SANITIZE}>:-O2>")
target_link_libraries(lstmd_cpu PUBLIC lstmd_model_files PRIVATE PkgConfig::hwy Threads::Threads)
