// SPDX-License-Identifier: Apache-2.0
//
// A batch on the threads. Many rows are dealt out to the threads, each of which takes its own through all steps and
// layers and meets the others at the end: nothing that it wrote has to cross over to another core. Few rows go through
// together, and the threads split the panels of each step. A row's bits are the same either way.
#ifndef LSTMD_ENGINE_CPU_BATCH_RUN_H_
#define LSTMD_ENGINE_CPU_BATCH_RUN_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "engine/backend.h"
#include "engine/cpu/packed_weights.h"
#include "engine/cpu/rows_run.h"
#include "engine/cpu/state_pool.h"
#include "engine/cpu/thread_pool.h"

namespace lstmd::cpu {

class BatchRun {
 public:
  // Both outlive this.
  BatchRun(const Kernels& kernels, ThreadPool& threads);

  // Backend::Run.
  absl::Status Run(const PackedModel& model, CpuStatePool& pool, absl::Span<Row* const> rows);

 private:
  // How many parts to deal `rows` rows out in; 1: they go together.
  size_t Parts(const PackedModel& model, size_t rows) const;
  // Everything that can fail. Changes no row.
  absl::Status Prepare(const PackedModel& model, absl::Span<Row* const> rows);
  bool TryPrepare(const PackedModel& model, absl::Span<Row* const> rows);
  void RunParts(const PackedModel& model, CpuStatePool& pool, size_t parts);

  const Kernels& kernels_;
  ThreadPool& threads_;
  ThreadPool alone_{1};
  RowsRun together_;
  std::vector<std::unique_ptr<RowsRun>> parts_;
  std::vector<Row*> rows_;      // those that are not done
  std::vector<uint64_t> left_;  // units that this call still does, of each of them
  std::vector<std::unique_ptr<CpuRowScratch>> new_scratch_;
};

}  // namespace lstmd::cpu

#endif  // LSTMD_ENGINE_CPU_BATCH_RUN_H_
