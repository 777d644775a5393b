// SPDX-License-Identifier: Apache-2.0
//
// Resource names as errors show them. Which names are valid is said in engine/engine.h.
//
// Owners: a session of an owner is kept under the key "{owner}:{id}", one of none under its id alone. ':' stands in no
// valid id and no owner, so owners never meet, and what callers see, the bare id, never names its owner.
#ifndef LSTMD_ENGINE_NAMES_H_
#define LSTMD_ENGINE_NAMES_H_

#include <string>
#include <string_view>

namespace lstmd {

// "models/{model}"
std::string ModelResource(std::string_view model);
// "models/{model}/sessions/{id}"; of a key without its owner.
std::string SessionResource(std::string_view model, std::string_view key);

// The key of a session; `owner` "": none.
std::string OwnedId(std::string_view owner, std::string_view id);
// The parts of a key.
std::string_view OwnerOf(std::string_view key);
std::string_view BareId(std::string_view key);

}  // namespace lstmd

#endif  // LSTMD_ENGINE_NAMES_H_
