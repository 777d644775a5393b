// SPDX-License-Identifier: Apache-2.0
#include "client/lstmctl/print.h"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"
#include "client/error.h"
#include "client/lstmctl/command.h"
#include "client/lstmctl/rows.h"
#include "google/protobuf/util/json_util.h"

namespace lstmd::client {
namespace {

Json Number(float value) {
  if (std::isfinite(value)) return static_cast<double>(value);
  std::string text;
  AppendFloat(value, &text);
  return text;
}

Json Nested(const Array& array, size_t dimension, size_t* next) {
  if (dimension == array.shape.size()) return Number(array.values[(*next)++]);
  Json list = Json::array();
  for (int64_t i = 0; i < array.shape[dimension]; ++i) list.push_back(Nested(array, dimension + 1, next));
  return list;
}

Json SpecJson(const v1::ModelSpec& spec) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  std::string text;
  if (!google::protobuf::util::MessageToJsonString(spec, &text, options).ok()) return nullptr;
  return Json::parse(text, nullptr, /*allow_exceptions=*/false);
}

}  // namespace

absl::Status Print(absl::string_view text) {
  errno = 0;
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0) {
    return absl::UnknownError(absl::StrCat("cannot write to standard output: ", std::strerror(errno)));
  }
  return absl::OkStatus();
}

absl::Status PrintJson(const Json& json) {
  return Print(json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
}

std::string Table::Text() const {
  std::vector<size_t> widths(rows_[0].size());
  for (const auto& row : rows_) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  for (const auto& row : rows_) {
    for (size_t i = 0; i < row.size(); ++i) {
      text += row[i];
      if (i + 1 < row.size()) text.append(widths[i] - row[i].size() + 2, ' ');
    }
    text += '\n';
  }
  return text;
}

std::string Bytes(uint64_t bytes) {
  if (bytes < 1024) return absl::StrCat(bytes, " B");
  double value = static_cast<double>(bytes);
  const char* const units[] = {"KiB", "MiB", "GiB", "TiB"};
  int unit = -1;
  while (value >= 1024 && unit < 3) {
    value /= 1024;
    ++unit;
  }
  return absl::StrFormat("%.1f %s", value, units[unit]);
}

std::string Thousands(uint64_t number) {
  std::string text = absl::StrCat(number);
  for (int at = static_cast<int>(text.size()) - 3; at > 0; at -= 3) text.insert(static_cast<size_t>(at), ",");
  return text;
}

std::string Text(const google::protobuf::Timestamp& time) {
  if (time.seconds() == 0 && time.nanos() == 0) return "";
  return absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", absl::FromUnixSeconds(time.seconds()), absl::UTCTimeZone());
}

std::string TtlText(const google::protobuf::Duration& ttl) {
  const absl::Duration duration = absl::Seconds(ttl.seconds()) + absl::Nanoseconds(ttl.nanos());
  return duration == absl::ZeroDuration() ? "never" : absl::FormatDuration(duration);
}

std::string Summary(const v1::Model& model) {
  const v1::ModelSpec& spec = model.spec();
  if (spec.input_size() == 0) return "";
  std::string text = absl::StrCat("I ", spec.input_size(), ", H ", spec.hidden_size());
  if (spec.projection_size() > 0) absl::StrAppend(&text, ", P ", spec.projection_size());
  absl::StrAppend(&text, ", L ", std::max(1u, spec.num_layers()), ", O ", model.output_size());
  if (spec.direction() > v1::DIRECTION_FORWARD) {
    std::string direction = v1::Direction_Name(spec.direction()).substr(std::strlen("DIRECTION_"));
    std::transform(direction.begin(), direction.end(), direction.begin(), [](char c) { return std::tolower(c); });
    absl::StrAppend(&text, ", ", direction);
  }
  return text;
}

Json ToJson(const v1::Model& model) {
  Json json;
  json["name"] = ShortName(model.name());
  json["version"] = model.version();
  json["state"] = v1::Model::State_Name(model.state());
  if (!model.error().empty()) json["error"] = model.error();
  json["default_version"] = model.default_version();
  if (!model.has_spec()) return json;
  json["device"] = model.device();
  json["steppable"] = model.steppable();
  json["input_size"] = model.spec().input_size();
  json["output_size"] = model.output_size();
  json["sessions"] = model.sessions();
  json["parameters"] = model.parameters();
  json["weight_bytes"] = model.weight_bytes();
  json["state_bytes_per_session"] = model.state_bytes_per_session();
  json["weights_sha256"] = model.weights_sha256();
  json["load_time"] = Text(model.load_time());
  json["spec"] = SpecJson(model.spec());
  return json;
}

Json ToJson(const v1::Session& session) {
  Json json;
  json["name"] = ShortName(session.name());
  json["resource"] = session.name();
  json["uid"] = session.uid();
  json["model_version"] = session.model_version();
  json["epoch"] = session.epoch();
  json["last_seq"] = session.last_seq();
  json["steps"] = session.steps();
  json["create_time"] = Text(session.create_time());
  json["last_step_time"] = session.has_last_step_time() ? Json(Text(session.last_step_time())) : Json(nullptr);
  json["idle_ttl_seconds"] =
      static_cast<double>(session.idle_ttl().seconds()) + static_cast<double>(session.idle_ttl().nanos()) * 1e-9;
  if (session.has_expire_time()) json["expire_time"] = Text(session.expire_time());
  json["residency"] = v1::Session::Residency_Name(session.residency());
  json["durability"] = v1::Session::Durability_Name(session.durability());
  json["durable_seq"] = session.durable_seq();
  json["pinned"] = session.pinned();
  json["labels"] = Json::object();
  for (const auto& [key, value] : session.labels()) json["labels"][key] = value;
  return json;
}

Json ToJson(const v1::ServerInfo& info) {
  Json json;
  json["name"] = info.name();
  json["version"] = info.version();
  json["start_time"] = Text(info.start_time());
  json["devices"] = Json::array();
  for (const v1::Device& device : info.devices()) {
    json["devices"].push_back(
        {{"name", device.name()}, {"backend", device.backend()}, {"description", device.description()}});
  }
  json["apis"] = std::vector<std::string>(info.apis().begin(), info.apis().end());
  json["models"] = info.models();
  json["sessions"] = info.sessions();
  json["max_message_bytes"] = info.max_message_bytes();
  json["max_batch_size"] = info.max_batch_size();
  json["draining"] = info.draining();
  json["batches"] = info.batches();
  json["batched_rows"] = info.batched_rows();
  return json;
}

Json ToJson(const Array& array) {
  size_t next = 0;
  return Nested(array, 0, &next);
}

Json ToJson(const State& state) { return {{"h", ToJson(state.h)}, {"c", ToJson(state.c)}}; }

Json ToJson(const absl::Status& error) {
  const ErrorDetails details = GetDetails(error);
  Json json;
  json["code"] = absl::StatusCodeToString(error.code());
  json["reason"] = details.reason;
  json["message"] = std::string(error.message());
  if (!details.metadata.empty()) json["metadata"] = details.metadata;
  for (const auto& [field, description] : details.fields) {
    json["fields"].push_back({{"field", field}, {"description", description}});
  }
  if (details.retry_after) json["retry_after_seconds"] = absl::ToDoubleSeconds(*details.retry_after);
  return {{"error", json}};
}

std::string Text(const Array& array) {
  std::string text;
  const size_t width = array.shape.empty() ? 1 : static_cast<size_t>(array.shape.back());
  if (width == 0) return text;
  const size_t rows = array.values.size() / width;
  const size_t group = array.shape.size() < 3 ? rows : static_cast<size_t>(array.shape[array.shape.size() - 2]);
  for (size_t row = 0; row < rows; ++row) {
    if (array.shape.size() >= 3 && row % group == 0) absl::StrAppend(&text, "# sequence ", row / group, "\n");
    AppendCsv(absl::MakeConstSpan(array.values).subspan(row * width, width), &text);
  }
  return text;
}

}  // namespace lstmd::client
