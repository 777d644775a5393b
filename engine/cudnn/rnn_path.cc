// SPDX-License-Identifier: Apache-2.0
#include "engine/cudnn/rnn_path.h"

#include <algorithm>

namespace lstmd::cudnn {
namespace {

// Lists of lengths repeat where batches are alike; each plan is some kilobytes on the host.
constexpr size_t kMaxPlans = 64;

}  // namespace

struct RnnPath::Plan {
  explicit Plan(const Device& device) : rnn(device), x(device), y(device), h(device), c(device) {}

  std::vector<int> lengths;
  RnnDescriptor rnn;
  RnnDataDescriptor x, y;
  TensorDescriptor h, c;
  size_t workspace_bytes = 0;
};

RnnPath::RnnPath(const Device& device, const CudnnModel& model, bool allow_tf32)
    : device_(device),
      model_(model),
      allow_tf32_(allow_tf32),
      workspace_(device),
      x_(device),
      y_(device),
      y_wide_(device),
      h_in_(device),
      c_in_(device),
      h_out_(device),
      c_out_(device) {}

RnnPath::~RnnPath() = default;

absl::Status RnnPath::MakePlan(const std::vector<int>& lengths, cudnnRNNAlgo_t algorithm, Plan* plan) {
  const DeviceApi& api = device_.api();
  const ModelSpec& spec = model_.spec();
  const cudnnDataType_t type = DataTypeOf(model_.element());
  const int batch = static_cast<int>(lengths.size());
  plan->lengths = lengths;
  absl::Status status = SetRnn(device_, spec, model_.element(), algorithm, allow_tf32_, &plan->rnn);
  const auto describe = [&](RnnDataDescriptor& data, uint32_t size) {
    if (status.ok()) status = data.Create();
    if (!status.ok()) return;
    status = device_.Check(
        api.cudnnSetRNNDataDescriptor(data.get(), type, CUDNN_RNN_DATA_LAYOUT_SEQ_MAJOR_PACKED, lengths[0], batch,
                                      static_cast<int>(size), lengths.data(), /*paddingFill=*/nullptr),
        "describing sequences");
  };
  describe(plan->x, spec.input_size);
  describe(plan->y, spec.directions() * spec.hidden_state_size());
  const auto describe_state = [&](TensorDescriptor& state, uint32_t size) {
    if (status.ok()) status = state.Create();
    if (!status.ok()) return;
    const int dims[3] = {static_cast<int>(spec.cells()), batch, static_cast<int>(size)};
    const int strides[3] = {dims[1] * dims[2], dims[2], 1};
    status = device_.Check(api.cudnnSetTensorNdDescriptor(state.get(), type, 3, dims, strides), "describing a state");
  };
  describe_state(plan->h, spec.hidden_state_size());
  describe_state(plan->c, spec.hidden_size);
  if (!status.ok()) return status;
  size_t reserve_bytes = 0;
  return device_.Check(api.cudnnGetRNNTempSpaceSizes(device_.dnn(), plan->rnn.get(), CUDNN_FWD_MODE_INFERENCE,
                                                     plan->x.get(), &plan->workspace_bytes, &reserve_bytes),
                       "sizing the workspace");
}

absl::StatusOr<RnnPath::Plan*> RnnPath::FindPlan(const BatchPlan& plan) {
  std::vector<int> lengths(plan.batch());
  for (int32_t b = 0; b < plan.batch(); ++b) lengths[b] = plan.length(b);
  const auto found =
      std::find_if(plans_.begin(), plans_.end(), [&](const auto& entry) { return entry->lengths == lengths; });
  if (found != plans_.end()) {
    plans_.splice(plans_.begin(), plans_, found);
    return plans_.front().get();
  }
  auto made = std::make_unique<Plan>(device_);
  const cudnnRNNAlgo_t fastest = ChooseAlgorithm(model_.spec(), model_.element(), plan.equal_lengths());
  absl::Status status = MakePlan(lengths, fastest, made.get());
  if (!status.ok() && fastest != CUDNN_RNN_ALGO_STANDARD && device_.healthy()) {
    // This device has no such persistent kernel; the standard algorithm computes everything.
    made = std::make_unique<Plan>(device_);
    status = MakePlan(lengths, CUDNN_RNN_ALGO_STANDARD, made.get());
  }
  if (!status.ok()) return status;
  if (plans_.size() >= kMaxPlans) plans_.pop_back();
  plans_.push_front(std::move(made));
  return plans_.front().get();
}

MoveStateArgs RnnPath::StateArgs(const BatchPlan& plan) const {
  MoveStateArgs args;
  args.element = model_.element();
  args.rows = plan.batch();
  args.cells = static_cast<int32_t>(model_.spec().cells());
  args.h_size = static_cast<int32_t>(model_.spec().hidden_state_size());
  args.c_size = static_cast<int32_t>(model_.spec().hidden_size);
  return args;
}

absl::Status RnnPath::Enqueue(const BatchPlan& plan, const BatchUpload& upload, const float** y) {
  const DeviceApi& api = device_.api();
  const ModelSpec& spec = model_.spec();
  const Element element = model_.element();
  const int64_t total = plan.total();
  const int64_t y_count = total * spec.directions() * spec.hidden_state_size();
  absl::StatusOr<Plan*> found = FindPlan(plan);
  if (!found.ok()) return found.status();
  const Plan& shape = **found;

  absl::Status status = workspace_.Reserve(shape.workspace_bytes);
  const size_t h_bytes = size_t(plan.batch()) * spec.h_size() * SizeOf(element);
  const size_t c_bytes = size_t(plan.batch()) * spec.c_size() * SizeOf(element);
  for (auto [buffer, bytes] : {std::pair(&h_in_, h_bytes), std::pair(&h_out_, h_bytes), std::pair(&c_in_, c_bytes),
                               std::pair(&c_out_, c_bytes), std::pair(&y_, y_count * SizeOf(element))}) {
    if (status.ok()) status = buffer->Reserve(bytes);
  }
  const void* x = upload.x;
  if (status.ok() && element != Element::kF32) {
    ConvertArgs narrow;
    narrow.size = total * spec.input_size;
    status = x_.Reserve(narrow.size * SizeOf(element));
    if (status.ok()) status = y_wide_.Reserve(y_count * sizeof(float));
    if (!status.ok()) return status;
    narrow.from = upload.x;
    narrow.to = x_.as<void>();
    narrow.to_element = element;
    status = device_.Check(api.launch_convert(narrow, device_.run_stream()), "narrowing the input");
    x = x_.as<void>();
  }
  if (!status.ok()) return status;

  MoveStateArgs gather = StateArgs(plan);
  gather.way = MoveStateArgs::Way::kRowsToDense;
  gather.read = upload.read;
  gather.dense_h = h_in_.as<void>();
  gather.dense_c = c_in_.as<void>();
  status = device_.Check(api.launch_move_state(gather, device_.run_stream()), "gathering states");
  if (!status.ok()) return status;
  // Lengths travel in the data descriptors; the device array is no longer read.
  status = device_.Check(
      api.cudnnRNNForward(device_.dnn(), shape.rnn.get(), CUDNN_FWD_MODE_INFERENCE, /*devSeqLengths=*/nullptr,
                          shape.x.get(), x, shape.y.get(), y_.as<void>(), shape.h.get(), h_in_.as<void>(),
                          h_out_.as<void>(), shape.c.get(), c_in_.as<void>(), c_out_.as<void>(),
                          model_.weight_space_bytes(), model_.weight_space().as<void>(), shape.workspace_bytes,
                          workspace_.as<void>(), /*reserveSpaceSize=*/0, /*reserveSpace=*/nullptr),
      "running the LSTM");
  if (!status.ok()) return status;
  if (element == Element::kF32) {
    *y = y_.as<float>();
    return status;
  }
  ConvertArgs widen;
  widen.size = y_count;
  widen.from = y_.as<void>();
  widen.from_element = element;
  widen.to = y_wide_.as<void>();
  *y = y_wide_.as<float>();
  return device_.Check(api.launch_convert(widen, device_.run_stream()), "widening the output");
}

absl::Status RnnPath::EnqueueMove(const BatchPlan& plan, const BatchUpload& upload) {
  MoveStateArgs scatter = StateArgs(plan);
  scatter.way = MoveStateArgs::Way::kDenseToRows;
  scatter.write = upload.slots;
  scatter.dense_h = h_out_.as<void>();
  scatter.dense_c = c_out_.as<void>();
  return device_.Check(device_.api().launch_move_state(scatter, device_.run_stream()), "scattering states");
}

}  // namespace lstmd::cudnn
