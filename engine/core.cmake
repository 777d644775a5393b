# SPDX-License-Identifier: Apache-2.0
add_library(lstmd_names STATIC names.cc)
target_link_libraries(lstmd_names PUBLIC lstmd_options absl::strings absl::statusor absl::time absl::span)

add_library(lstmd_snapshot STATIC replay_ring.cc snapshot.cc)
target_link_libraries(lstmd_snapshot PUBLIC lstmd_model_files PRIVATE PkgConfig::isal)

add_library(lstmd_engine STATIC
  batcher.cc
  checkpointer.cc
  call_cost.cc
  counters.cc
  engine.cc
  engine_models.cc
  engine_sessions.cc
  engine_snapshots.cc
  engine_stats.cc
  engine_store.cc
  engine_updates.cc
  eviction_queue.cc
  memory_budget.cc
  model.cc
  model_counters.cc
  model_registry.cc
  page_token.cc
  random_bits.cc
  ready_queue.cc
  scheduler.cc
  scheduler_durable.cc
  scheduler_idle.cc
  scheduler_saves.cc
  scheduler_sessions.cc
  scheduler_spill.cc
  scheduler_worker.cc
  session.cc
  session_events.cc
  session_store.cc)
target_link_libraries(lstmd_engine
  PUBLIC lstmd_names lstmd_snapshot lstmd_store lstmd_model_files lstmd_cpu absl::btree absl::flat_hash_map absl::function_ref
  PRIVATE absl::inlined_vector absl::hash absl::str_format Threads::Threads)
