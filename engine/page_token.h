// SPDX-License-Identifier: Apache-2.0
//
// Page tokens: the key of the last item shown, so that a page starts after it whatever came and went meanwhile. Opaque
// to clients, and checked: a token of another list, or any other text, is refused.
#ifndef LSTMD_ENGINE_PAGE_TOKEN_H_
#define LSTMD_ENGINE_PAGE_TOKEN_H_

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace lstmd {

// `list` names the list that is paged, for example "models".
std::string EncodePageToken(std::string_view list, std::string_view key);
// The key. INVALID_ARGUMENT / PAGE_TOKEN when `token` is not what EncodePageToken made for `list`.
absl::StatusOr<std::string> DecodePageToken(std::string_view list, std::string_view token);

// How many items a page of a requested size has: 0 is 100, more than 1000 is 1000. INVALID_ARGUMENT / PAGE_SIZE for
// negative ones.
absl::StatusOr<int> PageSize(int requested);

}  // namespace lstmd

#endif  // LSTMD_ENGINE_PAGE_TOKEN_H_
