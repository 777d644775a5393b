# SPDX-License-Identifier: Apache-2.0
add_library(lstmd_engine INTERFACE)
target_link_libraries(lstmd_engine INTERFACE lstmd_model_files lstmd_cpu)
