# SPDX-License-Identifier: Apache-2.0
add_library(
  lstmd_model_files STATIC
  errors.cc
  clock.cc
  plugin.cc
  json.cc
  interval_thread.cc
  parallel_for.cc
  spec.cc
  spec_json.cc
  weights.cc
  repository.cc
  checkpoint/mapped_file.cc
  checkpoint/safetensors.cc
  checkpoint/safetensors_writer.cc
  checkpoint/layouts.cc
  checkpoint/layout_names.cc
  checkpoint/layout_keras.cc
  checkpoint/layout_flat.cc
  checkpoint/layout_build.cc
  checkpoint/layout_extras.cc)
target_link_libraries(lstmd_model_files PUBLIC lstmd_options absl::status absl::statusor absl::time absl::span
                      absl::strings
                      PRIVATE lstmd_names Threads::Threads nlohmann_json::nlohmann_json OpenSSL::Crypto)

include(checkpoint/onnx.cmake)
target_compile_definitions(lstmd_model_files PUBLIC LSTMD_VERSION="${PROJECT_VERSION}")
target_link_libraries(lstmd_model_files PRIVATE ${CMAKE_DL_LIBS})
