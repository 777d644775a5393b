// SPDX-License-Identifier: Apache-2.0
#ifndef LSTMD_TESTS_FILES_TENSORS_H_
#define LSTMD_TESTS_FILES_TENSORS_H_

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/checkpoint/safetensors.h"

namespace lstmd {

// A file in memory. Every value of every tensor is another number.
class Tensors {
 public:
  Tensors& Add(const std::string& name, std::vector<uint64_t> shape) {
    uint64_t size = 1;
    for (uint64_t dimension : shape) size *= dimension;
    auto values = std::make_shared<std::vector<float>>();
    for (uint64_t i = 0; i < size; ++i) values->push_back(static_cast<float>(++count_));
    owner_->push_back(values);
    file_.tensors[name] = {DType::kF32, std::move(shape), reinterpret_cast<const char*>(values->data()), size};
    return *this;
  }
  // nn.LSTM: I inputs, H units, and the names' parts before and after.
  Tensors& AddTorchLayer(const std::string& prefix, const std::string& suffix, uint64_t inputs, uint64_t hidden,
                         bool bias = true) {
    Add(prefix + "weight_ih_" + suffix, {4 * hidden, inputs});
    Add(prefix + "weight_hh_" + suffix, {4 * hidden, hidden});
    if (!bias) return *this;
    return Add(prefix + "bias_ih_" + suffix, {4 * hidden}).Add(prefix + "bias_hh_" + suffix, {4 * hidden});
  }
  Tensors& AddKerasCell(const std::string& path, uint64_t inputs, uint64_t hidden) {
    return Add(path + "/kernel", {inputs, 4 * hidden})
        .Add(path + "/recurrent_kernel", {hidden, 4 * hidden})
        .Add(path + "/bias", {4 * hidden});
  }
  Tensors& Remove(const std::string& name) {
    file_.tensors.erase(name);
    return *this;
  }
  Tensors& Metadata(const std::string& key, const std::string& value) {
    file_.metadata[key] = value;
    return *this;
  }
  TensorFile file() const {
    TensorFile file = file_;
    file.owner = owner_;
    return file;
  }

 private:
  int count_ = 0;
  std::shared_ptr<std::vector<std::shared_ptr<std::vector<float>>>> owner_ =
      std::make_shared<std::vector<std::shared_ptr<std::vector<float>>>>();
  TensorFile file_;
};

}  // namespace lstmd

#endif  // LSTMD_TESTS_FILES_TENSORS_H_
