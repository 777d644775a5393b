# SPDX-License-Identifier: Apache-2.0
add_library(lstmd_store STATIC
  store/open_store.cc
  store/redis_connection.cc
  store/redis_store.cc
  store/rocks_store.cc
  store/spill_space.cc
  store/state_store.cc)
target_link_libraries(lstmd_store PUBLIC lstmd_snapshot PRIVATE PkgConfig::rocksdb PkgConfig::hiredis absl::flat_hash_map)
