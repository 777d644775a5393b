// SPDX-License-Identifier: Apache-2.0
//
// Backends that live in shared libraries of their own, so that one program runs with and without what they need.
#ifndef LSTMD_ENGINE_PLUGIN_H_
#define LSTMD_ENGINE_PLUGIN_H_

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "engine/backend.h"

namespace lstmd {

// The backend of a device from its plug-in: "cuda:0" from liblstmd_cudnn.so, "emulated" (the same backend over an
// emulation on the CPU, for tests) from liblstmd_cudnn_emulated.so. Looked for in the folder LSTMD_PLUGIN_DIR where
// that is set, else in ../lib/lstmd beside the program's folder, else where the system looks for libraries. A plug-in
// is never unloaded. Errors: INVALID_ARGUMENT / DEVICE for a name of no such form; UNAVAILABLE / DEVICE_UNAVAILABLE
// with what is missing: the plug-in, a library that it needs, the driver, the device.
absl::StatusOr<std::unique_ptr<Backend>> LoadPluginBackend(std::string_view device);

// What a plug-in exports under these names. Both sides are built from the same source: the version must be equal.
using PluginVersionFunction = const char*();
using PluginCreateFunction = void(std::string_view device, absl::StatusOr<std::unique_ptr<Backend>>* backend);
inline constexpr char kPluginVersionSymbol[] = "lstmd_plugin_version";
inline constexpr char kPluginCreateSymbol[] = "lstmd_plugin_create";
// LSTMD_VERSION is the project's, given by CMake.
inline constexpr char kPluginVersion[] = LSTMD_VERSION;

}  // namespace lstmd

#endif  // LSTMD_ENGINE_PLUGIN_H_
