// SPDX-License-Identifier: Apache-2.0
#include "engine/plugin.h"

#include <dlfcn.h>
#include <limits.h>
#include <unistd.h>

#include <cstdlib>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "engine/errors.h"

namespace lstmd {
namespace {

absl::string_view View(std::string_view text) { return {text.data(), text.size()}; }

// File name of the plug-in of a device, "" for a name that has none.
std::string FileFor(std::string_view device) {
  if (device == "emulated") return "liblstmd_cudnn_emulated.so";
  constexpr std::string_view kCuda = "cuda:";
  int number;
  if (device.substr(0, kCuda.size()) == kCuda && absl::SimpleAtoi(View(device.substr(kCuda.size())), &number) &&
      number >= 0) {
    return "liblstmd_cudnn.so";
  }
  return "";
}

std::vector<std::string> PlacesFor(const std::string& file) {
  if (const char* folder = std::getenv("LSTMD_PLUGIN_DIR"); folder != nullptr && *folder != '\0') {
    return {absl::StrCat(folder, "/", file)};
  }
  std::vector<std::string> places;
  char program[PATH_MAX];
  const ssize_t length = readlink("/proc/self/exe", program, sizeof program);
  if (length > 0 && static_cast<size_t>(length) < sizeof program) {
    const std::string path(program, static_cast<size_t>(length));
    places.push_back(absl::StrCat(path.substr(0, path.rfind('/')), "/../lib/lstmd/", file));
  }
  places.push_back(file);
  return places;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Backend>> LoadPluginBackend(std::string_view device) {
  const std::string file = FileFor(device);
  if (file.empty()) {
    return InvalidArgument("DEVICE", absl::StrCat("device: got '", View(device), "', want cpu or cuda:N"))
        .Field("device");
  }
  void* library = nullptr;
  std::string tried;
  for (const std::string& place : PlacesFor(file)) {
    library = dlopen(place.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library != nullptr) break;
    absl::StrAppend(&tried, tried.empty() ? "" : "; ", dlerror());
    if (place.find('/') != std::string::npos && access(place.c_str(), F_OK) == 0) break;  // there, but does not load
  }
  if (library == nullptr) {
    return Unavailable("DEVICE_UNAVAILABLE", absl::StrCat(View(device), " needs the plug-in ", file, ": ", tried))
        .With("device", device);
  }
  const auto version = reinterpret_cast<PluginVersionFunction*>(dlsym(library, kPluginVersionSymbol));
  const auto create = reinterpret_cast<PluginCreateFunction*>(dlsym(library, kPluginCreateSymbol));
  if (version == nullptr || create == nullptr || std::string_view(version()) != kPluginVersion) {
    return Unavailable("DEVICE_UNAVAILABLE",
                       absl::StrCat("plug-in ", file, ": got version ", version != nullptr ? version() : "none",
                                    ", want ", kPluginVersion))
        .With("device", device);
  }
  absl::StatusOr<std::unique_ptr<Backend>> backend = absl::UnknownError("");
  create(device, &backend);
  return backend;
}

}  // namespace lstmd
