// SPDX-License-Identifier: Apache-2.0
#include "server/oip_params.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "engine/engine.h"
#include "engine/errors.h"
#include "server/errors.h"

namespace lstmd::server {
namespace {

using inference::InferParameter;

const char* KindOf(const InferParameter& parameter) {
  switch (parameter.parameter_choice_case()) {
    case InferParameter::kBoolParam:
      return "bool_param";
    case InferParameter::kInt64Param:
      return "int64_param";
    case InferParameter::kStringParam:
      return "string_param";
    case InferParameter::kDoubleParam:
      return "double_param";
    case InferParameter::kUint64Param:
      return "uint64_param";
    default:
      return "nothing";
  }
}

absl::Status Wrong(const std::string& key, const std::string& got, const char* want) {
  return InvalidArgument("PARAMETER", absl::StrCat("parameter '", key, "': got ", got, ", want ", want))
      .Field(absl::StrCat("parameters[", key, "]"));
}

absl::Status ReadBool(const std::string& key, const InferParameter& parameter, bool* to) {
  if (parameter.parameter_choice_case() != InferParameter::kBoolParam)
    return Wrong(key, KindOf(parameter), "bool_param");
  *to = parameter.bool_param();
  return absl::OkStatus();
}

// Also as text: some clients' integers end at 32 bits.
absl::Status ReadNumber(const std::string& key, const InferParameter& parameter, uint64_t* to) {
  constexpr char kWant[] = "int64_param or uint64_param of 0 or more, or its digits as string_param";
  switch (parameter.parameter_choice_case()) {
    case InferParameter::kUint64Param:
      *to = parameter.uint64_param();
      return absl::OkStatus();
    case InferParameter::kInt64Param:
      if (parameter.int64_param() < 0) return Wrong(key, std::to_string(parameter.int64_param()), kWant);
      *to = static_cast<uint64_t>(parameter.int64_param());
      return absl::OkStatus();
    case InferParameter::kStringParam:
      if (absl::SimpleAtoi(parameter.string_param(), to)) return absl::OkStatus();
      return Wrong(key, absl::StrCat("'", Printable(parameter.string_param(), 64), "'"), kWant);
    default:
      return Wrong(key, KindOf(parameter), kWant);
  }
}

absl::Status ReadSequenceId(const std::string& key, const InferParameter& parameter, OipParams* params) {
  uint64_t number = 0;
  switch (parameter.parameter_choice_case()) {
    case InferParameter::kInt64Param:
      // Clients with unsigned ids cast them.
      number = static_cast<uint64_t>(parameter.int64_param());
      break;
    case InferParameter::kUint64Param:
      number = parameter.uint64_param();
      break;
    case InferParameter::kStringParam:
      params->sequence = params->session = parameter.string_param();
      if (params->session.empty() || IsValidSessionId(params->session)) return absl::OkStatus();
      return InvalidArgument("SESSION_ID",
                             absl::StrCat("parameter 'sequence_id': got '", Printable(params->session, 128),
                                          "', want 1 to 128 of A-Z a-z 0-9 . _ ~ -, the first a letter "
                                          "or digit"))
          .Field("parameters[sequence_id]");
    default:
      return Wrong(key, KindOf(parameter), "int64_param or string_param");
  }
  if (number == 0) return absl::OkStatus();
  params->sequence = std::to_string(number);
  params->session = "seq-" + params->sequence;
  return absl::OkStatus();
}

absl::Status ReadParameter(const std::string& key, const InferParameter& parameter, OipParams* params) {
  if (key == "sequence_id") return ReadSequenceId(key, parameter, params);
  if (key == "sequence_start") return ReadBool(key, parameter, &params->start);
  if (key == "sequence_end") return ReadBool(key, parameter, &params->end);
  if (key == "lstmd_seq" || key == "lstmd_epoch") {
    params->numbered = true;
    return ReadNumber(key, parameter, key == "lstmd_seq" ? &params->seq : &params->epoch);
  }
  if (key == "timeout") {
    uint64_t microseconds = 0;
    if (absl::Status status = ReadNumber(key, parameter, &microseconds); !status.ok()) return status;
    if (microseconds > 0 && microseconds < INT64_MAX) {
      params->timeout = absl::Microseconds(static_cast<int64_t>(microseconds));
    }
    return absl::OkStatus();
  }
  uint64_t ignored = 0;
  if (key == "priority") return ReadNumber(key, parameter, &ignored);
  if (key == "triton_enable_empty_final_response") return ReadBool(key, parameter, &params->marks_final);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<OipParams> ReadOipParams(const inference::ModelInferRequest& request) {
  OipParams params;
  const absl::Status read = ReadEach(
      request.parameters(),
      [&](const std::string& key, const InferParameter& parameter) { return ReadParameter(key, parameter, &params); });
  if (!read.ok()) return read;
  if (params.in_sequence()) {
    if (params.start && params.epoch != 0) {
      return Wrong("lstmd_epoch", std::to_string(params.epoch), "none with sequence_start, which begins a new epoch");
    }
    return params;
  }
  const char* needs = params.start        ? "sequence_start"
                      : params.end        ? "sequence_end"
                      : params.seq != 0   ? "lstmd_seq"
                      : params.epoch != 0 ? "lstmd_epoch"
                                          : nullptr;
  if (needs == nullptr) return params;
  return InvalidArgument("SEQUENCE_REQUIRED",
                         absl::StrCat("inference request to model '", Printable(request.model_name()),
                                      "' must specify a non-zero or non-empty correlation ID: it has the parameter '",
                                      needs, "' and no sequence_id"))
      .Field("parameters[sequence_id]");
}

absl::StatusOr<int64_t> ReadOipVersion(const std::string& version, const char* field) {
  int64_t number = 0;
  if (version.empty() || (absl::SimpleAtoi(version, &number) && number >= 0)) return number;
  return InvalidArgument("MODEL_VERSION",
                         absl::StrCat("got version '", Printable(version, 64), "', want a positive integer or none"))
      .Field(field);
}

}  // namespace lstmd::server
