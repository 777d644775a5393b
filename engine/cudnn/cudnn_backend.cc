// SPDX-License-Identifier: Apache-2.0
#include "engine/cudnn/cudnn_backend.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/cudnn/runner.h"
#include "engine/errors.h"

namespace lstmd::cudnn {
namespace {

// Weights with what runs them: buffers and graphs belong to one set of weights.
class RunnableModel final : public DeviceModel {
 public:
  RunnableModel(const Device& device, std::unique_ptr<CudnnModel> model, const CudnnOptions& options)
      : model_(std::move(model)), runner_(std::make_unique<Runner>(device, *model_, options)) {}

  uint64_t weight_bytes() const override { return model_->weight_bytes(); }
  const CudnnModel& model() const { return *model_; }
  // The caller is the only one, as of Backend::Run.
  Runner& runner() const { return *runner_; }

 private:
  const std::unique_ptr<CudnnModel> model_;
  const std::unique_ptr<Runner> runner_;
};

class CudnnBackend final : public Backend {
 public:
  CudnnBackend(std::unique_ptr<Device> device, const CudnnOptions& options, std::string name)
      : device_(std::move(device)), options_(options), device_name_(std::move(name)) {}

  std::string name() const override { return "cudnn"; }
  std::string device() const override { return device_name_; }
  std::string description() const override { return device_->description(); }

  absl::Status Supports(const ModelSpec& spec) const override {
    if (spec.precision == Precision::kBf16Weights || spec.precision == Precision::kInt8Weights) {
      const std::string_view name = Name(spec.precision);
      return Unimplemented(
                 "UNSUPPORTED_BY_DEVICE",
                 absl::StrCat("precision on ", device_name_, ": got ", absl::string_view(name.data(), name.size()),
                              ", want PRECISION_F32, PRECISION_BF16 or PRECISION_F16; the cpu has the others"))
          .Field("precision");
    }
    if (spec.direction == Direction::kGoBackwards && spec.num_layers > 1) {
      // A layer above reads the turned-around output of the one below, but under the mask of the input.
      return Unimplemented("UNSUPPORTED_BY_DEVICE",
                           absl::StrCat("direction on ", device_name_, ": got DIRECTION_GO_BACKWARDS with ",
                                        spec.num_layers, " layers, want 1; the cpu has more"))
          .Field("direction");
    }
    if (spec.padding_output == PaddingOutput::kCell) {
      return Unimplemented("UNSUPPORTED_BY_DEVICE",
                           absl::StrCat("padding_output on ", device_name_,
                                        ": got PADDING_OUTPUT_CELL, which runs the cell on padding; only the cpu does"))
          .Field("padding_output");
    }
    return absl::OkStatus();
  }

  absl::StatusOr<std::unique_ptr<DeviceModel>> Load(const ModelSpec& spec, const Weights& weights) override {
    absl::StatusOr<std::unique_ptr<CudnnModel>> model = CudnnModel::Create(*device_, spec, weights);
    if (!model.ok()) return model.status();
    return std::unique_ptr<DeviceModel>(std::make_unique<RunnableModel>(*device_, *std::move(model), options_));
  }

  absl::StatusOr<std::unique_ptr<StatePool>> CreateStatePool(const DeviceModel& model) override {
    return std::unique_ptr<StatePool>(
        std::make_unique<CudnnStatePool>(*device_, static_cast<const RunnableModel&>(model).model()));
  }

  absl::Status Run(const DeviceModel& model, StatePool& pool, absl::Span<Row* const> rows) override {
    return static_cast<const RunnableModel&>(model).runner().Run(static_cast<CudnnStatePool&>(pool), rows);
  }

  // Libraries choose their kernels by the size of the batch.
  bool batch_invariant() const override { return false; }

  bool healthy() const override { return device_->healthy(); }

 private:
  const std::unique_ptr<Device> device_;
  const CudnnOptions options_;
  const std::string device_name_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Backend>> CreateCudnnBackend(const DeviceApi& api, const CudnnOptions& options,
                                                            std::string device_name) {
  absl::StatusOr<std::unique_ptr<Device>> device = Device::Open(api, options.device);
  if (!device.ok()) return device.status();
  return std::unique_ptr<Backend>(std::make_unique<CudnnBackend>(std::move(*device), options, std::move(device_name)));
}

}  // namespace lstmd::cudnn
