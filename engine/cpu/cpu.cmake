# SPDX-License-Identifier: Apache-2.0
add_library(lstmd_cpu INTERFACE)
target_link_libraries(lstmd_cpu INTERFACE lstmd_model_files)
