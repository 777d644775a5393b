# SPDX-License-Identifier: Apache-2.0
add_library(lstmd_model_files STATIC errors.cc clock.cc)
target_link_libraries(lstmd_model_files PUBLIC lstmd_options absl::status absl::statusor absl::time absl::span
                      absl::strings)
