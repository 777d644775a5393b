// SPDX-License-Identifier: Apache-2.0
//
// NumPy's .npy files, as far as numbers for an LSTM need them: little-endian float32 or float64 in C order.
// https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
#ifndef LSTMD_CLIENT_LSTMCTL_NPY_H_
#define LSTMD_CLIENT_LSTMCTL_NPY_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client/array.h"

namespace lstmd::client {

// What every .npy file begins with.
inline constexpr char kNpyMagic[] = "\x93NUMPY";

// The array in `bytes`, a whole file; float64 is rounded to float32. INVALID_ARGUMENT says what is wrong with it, or
// what type or order is not read. Never allocates more than a few times bytes.size().
absl::StatusOr<Array> ParseNpy(absl::string_view bytes);
// A version 1.0 file of type <f4.
std::string FormatNpy(const Array& array);

// The same with files; messages begin with the path. NOT_FOUND when there is none.
absl::StatusOr<Array> ReadNpy(const std::string& path);
absl::Status WriteNpy(const std::string& path, const Array& array);

// The whole file. NOT_FOUND, or UNKNOWN with what the system says.
absl::StatusOr<std::string> ReadFile(const std::string& path);
// Replaces the file. UNKNOWN with what the system says.
absl::Status WriteFile(const std::string& path, absl::string_view bytes);

}  // namespace lstmd::client

#endif  // LSTMD_CLIENT_LSTMCTL_NPY_H_
