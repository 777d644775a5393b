// SPDX-License-Identifier: Apache-2.0
//
// Any bytes as a model file. What is read must survive being written and read again.
#include <cstdlib>
#include <memory>
#include <string>

#include "engine/checkpoint/layouts.h"
#include "engine/checkpoint/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // At an address of its own, so that reading beyond the end is seen.
  const auto bytes = std::make_shared<const std::string>(reinterpret_cast<const char*>(data), size);
  const absl::StatusOr<lstmd::TensorFile> file = lstmd::ParseSafetensors(*bytes, bytes);
  if (!file.ok()) return 0;
  for (const auto& [name, tensor] : file->tensors) {
    const absl::StatusOr<lstmd::FloatArray> values = lstmd::Floats(*file, tensor);
    float sum = 0;
    if (values.ok()) {
      for (const float value : values->span()) sum += value;
    }
    volatile float sink = sum;
    static_cast<void>(sink);
  }
  const std::string written = lstmd::SerializeSafetensors(file->tensors, file->metadata);
  const absl::StatusOr<lstmd::TensorFile> again = lstmd::ParseSafetensors(written, nullptr);
  if (!again.ok() || again->tensors.size() != file->tensors.size() || again->metadata != file->metadata) std::abort();
  const absl::StatusOr<lstmd::ModelFiles> model = lstmd::AssembleModel(*file, {});
  if (model.ok() && !Validate(model->spec, model->weights).ok()) std::abort();
  return 0;
}
