// SPDX-License-Identifier: Apache-2.0
//
// How lstmctl shows things: tables for people, JSON for programs.
#ifndef LSTMD_CLIENT_LSTMCTL_PRINT_H_
#define LSTMD_CLIENT_LSTMCTL_PRINT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "client/array.h"
#include "google/protobuf/duration.pb.h"
#include "google/protobuf/timestamp.pb.h"
#include "lstmd/v1/model_service.pb.h"
#include "lstmd/v1/session_service.pb.h"
#include "nlohmann/json.hpp"

namespace lstmd::client {

// Keys in the order in which they are written.
using Json = nlohmann::ordered_json;

// To standard output. UNKNOWN when it is closed or full, so that a lost result is no success.
absl::Status Print(absl::string_view text);
absl::Status PrintJson(const Json& json);

// Columns as wide as their widest cell; the header in upper case.
class Table {
 public:
  explicit Table(std::vector<std::string> header) { rows_.push_back(std::move(header)); }
  void Add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  std::string Text() const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

// "1.5 MiB".
std::string Bytes(uint64_t bytes);
// "12,345,678".
std::string Thousands(uint64_t number);
// RFC 3339 in UTC; "" when unset.
std::string Text(const google::protobuf::Timestamp& time);
// "1h", "1m30s"; "never" for zero.
std::string TtlText(const google::protobuf::Duration& ttl);
// "LSTM 1 -> 64 x 1, out 1".
std::string Summary(const v1::Model& model);

Json ToJson(const v1::Model& model);
Json ToJson(const v1::Session& session);
Json ToJson(const v1::ServerInfo& info);
// Nested lists in the array's shape; nan and infinities, which JSON lacks, are strings.
Json ToJson(const Array& array);
Json ToJson(const State& state);
Json ToJson(const absl::Status& error);

// Rows of the last dimension, one a line, under headings for the dimensions before it.
std::string Text(const Array& array);

}  // namespace lstmd::client

#endif  // LSTMD_CLIENT_LSTMCTL_PRINT_H_
