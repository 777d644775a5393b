// SPDX-License-Identifier: Apache-2.0
//
// Resource names as errors show them. Which names are valid is said in engine/engine.h.
#ifndef LSTMD_ENGINE_NAMES_H_
#define LSTMD_ENGINE_NAMES_H_

#include <string>
#include <string_view>

namespace lstmd {

// "models/{model}"
std::string ModelResource(std::string_view model);
// "models/{model}/sessions/{id}"
std::string SessionResource(std::string_view model, std::string_view id);

}  // namespace lstmd

#endif  // LSTMD_ENGINE_NAMES_H_
