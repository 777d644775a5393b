// SPDX-License-Identifier: Apache-2.0
#include "client/lstmctl/rows.h"

#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstring>
#include <fstream>
#include <iostream>
#include <iterator>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "client/lstmctl/npy.h"

namespace lstmd::client {
namespace {

absl::Status Invalid(absl::string_view where, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat(where, ": ", what));
}

std::vector<absl::string_view> Split(absl::string_view line) {
  std::vector<absl::string_view> fields;
  if (line.find_first_of(",;\t") == absl::string_view::npos) {
    fields = absl::StrSplit(line, absl::ByAnyChar(" "), absl::SkipEmpty());
  } else {
    fields = absl::StrSplit(line, absl::ByAnyChar(",;\t"));
    // pandas and others leave a separator at the end of the line.
    if (fields.size() > 1 && absl::StripAsciiWhitespace(fields.back()).empty()) fields.pop_back();
  }
  for (absl::string_view& field : fields) field = absl::StripAsciiWhitespace(field);
  return fields;
}

class CsvReader final : public RowReader {
 public:
  CsvReader(std::string name, std::unique_ptr<std::ifstream> file, std::vector<std::string> columns)
      : name_(std::move(name)),
        file_(std::move(file)),
        input_(file_ != nullptr ? *file_ : std::cin),
        columns_(std::move(columns)) {}

  absl::StatusOr<bool> Next(std::vector<float>* row) override {
    while (std::getline(input_, text_)) {
      ++line_;
      absl::string_view line = text_;
      if (line_ == 1) absl::ConsumePrefix(&line, "\xef\xbb\xbf");
      line = absl::StripAsciiWhitespace(line);
      if (line.empty() || line[0] == '#') continue;
      const std::vector<absl::string_view> fields = Split(line);
      if (width_ == 0) {
        const bool header = IsHeader(fields);
        if (absl::Status status = Choose(fields, header); !status.ok()) return status;
        width_ = fields.size();
        if (header) continue;
      }
      if (fields.size() != width_) {
        return Invalid(Where(),
                       absl::StrCat("got ", fields.size(), " columns, want ", width_, " as in the lines before"));
      }
      row->clear();
      for (const size_t column : chosen_) {
        float value;
        if (!ParseFloat(fields[column], &value)) {
          return Invalid(Where(), absl::StrCat("column ", column + 1, ": '", fields[column],
                                               "' is not a number; --columns chooses which columns are read"));
        }
        row->push_back(value);
      }
      return true;
    }
    if (input_.bad()) return absl::UnknownError(absl::StrCat(name_, ": ", std::strerror(errno)));
    return false;
  }

  std::string Where() const override { return absl::StrCat(name_, ":", line_); }

 private:
  static bool IsHeader(const std::vector<absl::string_view>& fields) {
    float ignored;
    for (const absl::string_view field : fields) {
      if (ParseFloat(field, &ignored)) return false;
    }
    return true;
  }

  // Which columns are read, from the first line that is not empty.
  absl::Status Choose(const std::vector<absl::string_view>& fields, bool header) {
    for (const std::string& column : columns_) {
      size_t index = fields.size();
      for (size_t i = 0; header && i < fields.size(); ++i) {
        if (fields[i] == column) index = i;
      }
      uint64_t number;
      if (index == fields.size() && absl::SimpleAtoi(column, &number) && number >= 1 && number <= fields.size()) {
        index = number - 1;
      }
      if (index == fields.size()) {
        return Invalid(Where(),
                       absl::StrCat("no column '", column, "'; there are ",
                                    header ? absl::StrJoin(fields, ", ") : absl::StrCat("1 to ", fields.size())));
      }
      chosen_.push_back(index);
    }
    for (size_t i = 0; columns_.empty() && i < fields.size(); ++i) chosen_.push_back(i);
    return absl::OkStatus();
  }

  const std::string name_;
  const std::unique_ptr<std::ifstream> file_;
  std::istream& input_;
  const std::vector<std::string> columns_;
  std::vector<size_t> chosen_;
  std::string text_;
  size_t line_ = 0;
  size_t width_ = 0;  // 0: no line was seen yet
};

class NpyReader final : public RowReader {
 public:
  NpyReader(std::string name, Array array) : name_(std::move(name)), array_(std::move(array)) {
    width_ = array_.shape.size() > 1 ? static_cast<size_t>(array_.shape[1]) : 1;
    rows_ = static_cast<size_t>(array_.shape[0]);
  }

  absl::StatusOr<bool> Next(std::vector<float>* row) override {
    if (row_ == rows_) return false;
    const float* begin = array_.values.data() + row_++ * width_;
    row->assign(begin, begin + width_);
    return true;
  }

  std::string Where() const override { return absl::StrCat("row ", row_, " of ", name_); }

 private:
  const std::string name_;
  const Array array_;
  size_t width_;
  size_t rows_;
  size_t row_ = 0;
};

}  // namespace

bool IsNpyPath(absl::string_view path) { return absl::EndsWithIgnoreCase(path, ".npy"); }

bool ParseFloat(absl::string_view text, float* value) {
  if (absl::ConsumePrefix(&text, "+") && absl::StartsWith(text, "-")) return false;
  const char* end = text.data() + text.size();
  std::from_chars_result result = std::from_chars(text.data(), end, *value);
  if (result.ec == std::errc::result_out_of_range) {
    double wide = 0;  // too small is 0, too large is an error
    result = std::from_chars(text.data(), end, wide);
    *value = static_cast<float>(wide);
    if (std::fabs(wide) > 1) return false;
  }
  return result.ec == std::errc() && result.ptr == end;
}

void AppendFloat(float value, std::string* text) {
  char buffer[32];
  const std::to_chars_result result = std::to_chars(buffer, buffer + sizeof(buffer), value);
  text->append(buffer, result.ptr);
}

void AppendCsv(absl::Span<const float> row, std::string* text) {
  for (size_t i = 0; i < row.size(); ++i) {
    if (i > 0) text->push_back(',');
    AppendFloat(row[i], text);
  }
  text->push_back('\n');
}

absl::StatusOr<std::unique_ptr<RowReader>> RowReader::Open(const std::string& path,
                                                           const std::vector<std::string>& columns) {
  const bool standard = path == "-";
  const std::string name = standard ? "standard input" : path;
  std::unique_ptr<std::ifstream> file;
  if (!standard) {
    errno = 0;
    file = std::make_unique<std::ifstream>(path, std::ios::binary);
    if (!*file) return absl::NotFoundError(absl::StrCat("cannot open ", path, ": ", std::strerror(errno)));
  }
  std::istream& input = standard ? std::cin : *file;
  if (input.peek() != static_cast<unsigned char>(kNpyMagic[0])) {
    return std::make_unique<CsvReader>(name, std::move(file), columns);
  }
  absl::StatusOr<Array> array =
      ParseNpy(std::string(std::istreambuf_iterator<char>(input), std::istreambuf_iterator<char>()));
  if (!array.ok()) return Invalid(name, array.status().message());
  if (!columns.empty()) return Invalid(name, "--columns is for CSV");
  if (array->shape.empty() || array->shape.size() > 2) {
    return Invalid(name, absl::StrCat("got shape [", absl::StrJoin(array->shape, ", "), "], want rows: [R, I] or [R]"));
  }
  return std::make_unique<NpyReader>(name, *std::move(array));
}

absl::StatusOr<Array> ReadRows(const std::string& path, const std::vector<std::string>& columns) {
  absl::StatusOr<std::unique_ptr<RowReader>> reader = RowReader::Open(path, columns);
  if (!reader.ok()) return reader.status();
  Array array{{0, 0}, {}};
  std::vector<float> row;
  while (true) {
    absl::StatusOr<bool> more = (*reader)->Next(&row);
    if (!more.ok()) return more.status();
    if (!*more) return array;
    ++array.shape[0];
    array.shape[1] = static_cast<int64_t>(row.size());
    array.values.insert(array.values.end(), row.begin(), row.end());
  }
}

}  // namespace lstmd::client
