# SPDX-License-Identifier: Apache-2.0
add_library(lstmd_names STATIC names.cc)
target_link_libraries(lstmd_names PUBLIC lstmd_options absl::strings absl::statusor absl::time absl::span)

add_library(lstmd_engine INTERFACE)
target_link_libraries(lstmd_engine INTERFACE lstmd_names lstmd_model_files lstmd_cpu)
