# SPDX-License-Identifier: Apache-2.0
add_library(lstmd_model_files STATIC errors.cc clock.cc json.cc spec.cc spec_json.cc weights.cc)
target_link_libraries(lstmd_model_files PUBLIC lstmd_options absl::status absl::statusor absl::time absl::span
                      absl::strings
                      PRIVATE nlohmann_json::nlohmann_json OpenSSL::Crypto)
