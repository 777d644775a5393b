// SPDX-License-Identifier: Apache-2.0
//
// The two functions that engine/plugin.h looks for. LSTMD_DEVICE_API names the function table (RealApi or, for tests,
// EmulatedApi) and LSTMD_DEVICE_API_HEADER where it is declared.
#include "engine/plugin.h"

#include "absl/strings/numbers.h"
#include "engine/cudnn/cudnn_backend.h"
#include LSTMD_DEVICE_API_HEADER

extern "C" {

const char* lstmd_plugin_version() { return lstmd::kPluginVersion; }

void lstmd_plugin_create(std::string_view device, absl::StatusOr<std::unique_ptr<lstmd::Backend>>* backend) {
  lstmd::cudnn::CudnnOptions options;
  const size_t colon = device.find(':');
  if (colon != std::string_view::npos) {
    const std::string_view number = device.substr(colon + 1);
    // LoadPluginBackend has checked the form.
    (void)absl::SimpleAtoi(absl::string_view(number.data(), number.size()), &options.device);
  }
  *backend = lstmd::cudnn::CreateCudnnBackend(lstmd::cudnn::LSTMD_DEVICE_API(), options, std::string(device));
}

}  // extern "C"
