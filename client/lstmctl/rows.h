// SPDX-License-Identifier: Apache-2.0
//
// Rows of numbers from files and standard input, and back: CSV as spreadsheets and pandas write it, without quoting,
// and .npy.
#ifndef LSTMD_CLIENT_LSTMCTL_ROWS_H_
#define LSTMD_CLIENT_LSTMCTL_ROWS_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "client/array.h"

namespace lstmd::client {

// "-", ".npy", or anything else: CSV.
bool IsNpyPath(absl::string_view path);

// One number, the whole of `text`; leading '+', nan and inf are fine. False when it is none or no float32 can hold it.
bool ParseFloat(absl::string_view text, float* value);
// The shortest text that reads back as the same number.
void AppendFloat(float value, std::string* text);
// "1,2.5\n".
void AppendCsv(absl::Span<const float> row, std::string* text);

// Yields the rows of one source, all of the same width. Lines are split at commas, semicolons, tabs or blanks; empty
// lines and lines that begin with '#' are passed over; a first line without a single number is a header.
class RowReader {
 public:
  virtual ~RowReader() = default;

  // `path`: a file, or "-" for standard input. .npy is known by its content; [R, I] are R rows, [R] are R rows of one.
  // `columns`: which to take, by header name or by number from 1; empty: all. NOT_FOUND for a missing file,
  // INVALID_ARGUMENT for a broken .npy.
  static absl::StatusOr<std::unique_ptr<RowReader>> Open(const std::string& path,
                                                         const std::vector<std::string>& columns);

  // Fills `row` and returns true; false at the end. INVALID_ARGUMENT names file, line and column.
  virtual absl::StatusOr<bool> Next(std::vector<float>* row) = 0;
  // Where the row of the last Next came from: "data.csv:17".
  virtual std::string Where() const = 0;
};

// All rows: [R, I].
absl::StatusOr<Array> ReadRows(const std::string& path, const std::vector<std::string>& columns);

}  // namespace lstmd::client

#endif  // LSTMD_CLIENT_LSTMCTL_ROWS_H_
