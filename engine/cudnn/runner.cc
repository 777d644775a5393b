// SPDX-License-Identifier: Apache-2.0
#include "engine/cudnn/runner.h"

#include <algorithm>
#include <cstring>

namespace lstmd::cudnn {
namespace {

// Single steps are padded to these batch sizes, so that few graphs serve all.
int32_t BucketFor(int32_t batch) {
  int32_t bucket = 1;
  while (bucket < batch) bucket *= 2;
  return bucket;
}

}  // namespace

struct Runner::Graph {
  explicit Graph(const DeviceApi& device_api) : api(device_api) {}
  ~Graph() {
    if (exec != nullptr) api.cudaGraphExecDestroy(exec);
  }
  const DeviceApi& api;
  cudaGraphExec_t exec = nullptr;
  uint64_t generation = 0;  // of the buffers that it names
};

Runner::Runner(const Device& device, const CudnnModel& model, const CudnnOptions& options)
    : device_(device),
      model_(model),
      options_(options),
      features_(static_cast<int32_t>(model.spec().layer_output_size())),
      gemm_(device, model.element(), options.allow_tf32),
      pinned_in_(device),
      pinned_out_(device),
      in_(device),
      stage_(device),
      operand_(device),
      gates_(device),
      unprojected_(device),
      hidden_(device),
      y_{DeviceBuffer(device), DeviceBuffer(device)},
      merged_(device),
      features_out_(device),
      out_(device) {
  if (model.has_rnn()) rnn_ = std::make_unique<RnnPath>(device, model, options.allow_tf32);
}

Runner::~Runner() = default;

bool Runner::UseRnn(const BatchPlan& plan) const {
  return rnn_ != nullptr && plan.max_steps() >= options_.rnn_min_steps;
}

absl::Status Runner::Run(CudnnStatePool& pool, absl::Span<Row* const> rows) {
  if (absl::Status status = device_.Enter(); !status.ok()) return status;
  const BatchPlan plan = PlanBatch(model_.spec(), rows);
  Shape shape;
  shape.plan = &plan;
  shape.batch = plan.batch();
  shape.wanted = static_cast<int32_t>(plan.wanted.size());
  const bool single_steps =
      options_.graphs && model_.spec().steppable() && plan.max_steps() == 1 && shape.wanted <= shape.batch;
  if (single_steps) shape.batch = shape.wanted = BucketFor(shape.batch);

  absl::Status status = Upload(plan, pool, &shape);
  if (status.ok()) {
    if (single_steps) {
      status = RunGraph(shape);
    } else if (UseRnn(plan)) {
      TopOutput top;
      status = rnn_->Enqueue(plan, shape.on_device, &top.forward);
      const int32_t size = static_cast<int32_t>(model_.spec().hidden_state_size());
      top.stride = size * static_cast<int32_t>(model_.spec().directions());
      if (model_.spec().directions() == 2) top.backward = top.forward + size;
      if (status.ok()) status = EnqueueOutputs(shape, top);
      if (status.ok()) status = rnn_->EnqueueMove(plan, shape.on_device);
    } else {
      status = EnqueueCells(shape);
    }
  }
  if (status.ok()) status = Finish(shape, pool);
  if (!status.ok()) {
    // What was enqueued still reads the buffers.
    device_.api().cudaStreamSynchronize(device_.run_stream());
    return status;
  }
  for (const std::vector<PlannedRow>* group : {&plan.rows, &plan.idle}) {
    for (const PlannedRow& planned : *group) {
      Row& row = *planned.row;
      row.position = model_.spec().steppable() ? row.position + planned.count : row.units(model_.spec());
    }
  }
  return status;
}

absl::Status Runner::Upload(const BatchPlan& plan, CudnnStatePool& pool, Shape* shape) {
  const UploadLayout layout(model_.spec(), shape->total(), shape->batch, shape->wanted);
  absl::Status status = pinned_in_.Reserve(layout.bytes());
  if (status.ok()) status = in_.Reserve(layout.bytes());
  if (status.ok()) status = Reserve(*shape);
  if (!status.ok()) return status;
  layout.Fill(model_.spec(), plan, pool, stage_.as<float>(), model_.row_size(), pinned_in_.as<char>());
  shape->on_device = layout.At(in_.as<char>());
  return device_.Check(device_.api().cudaMemcpyAsync(in_.as<void>(), pinned_in_.as<void>(), layout.bytes(),
                                                     cudaMemcpyHostToDevice, device_.run_stream()),
                       "sending a batch");
}

// Everything that EnqueueCells and EnqueueOutputs use, so that they allocate nothing.
absl::Status Runner::Reserve(const Shape& shape) {
  const ModelSpec& spec = model_.spec();
  const size_t element = SizeOf(model_.element());
  const size_t batch = shape.batch;
  const size_t total = shape.total();
  const size_t widest = spec.hidden_state_size() + std::max<size_t>(spec.input_size, features_);
  const size_t operand = std::max(batch * widest, size_t(shape.wanted) * features_);
  struct Need {
    DeviceBuffer* buffer;
    size_t bytes;
  };
  const Need needs[] = {
      {&stage_, batch * model_.row_size() * sizeof(float)},
      {&operand_, operand * element},
      {&gates_, batch * 4 * spec.hidden_size * sizeof(float)},
      {&unprojected_, spec.projection_size != 0 ? batch * spec.hidden_size * element : 0},
      {&hidden_, spec.projection_size != 0 ? batch * spec.projection_size * sizeof(float) : 0},
      {&y_[0], std::max<size_t>(total, 1) * spec.hidden_state_size() * sizeof(float)},
      {&y_[1], std::max<size_t>(total, 1) * spec.hidden_state_size() * sizeof(float)},
      {&merged_, spec.directions() == 2 ? total * features_ * sizeof(float) : 0},
      {&features_out_, size_t(shape.wanted) * features_ * sizeof(float)},
      {&out_, spec.head ? size_t(shape.wanted) * spec.output_size() * sizeof(float) : 0},
  };
  for (const Need& need : needs) {
    if (absl::Status status = need.buffer->Reserve(need.bytes); !status.ok()) return status;
  }
  return pinned_out_.Reserve(size_t(shape.wanted) * spec.output_size() * sizeof(float));
}

uint64_t Runner::Generation() const {
  uint64_t sum = in_.generation() + y_[0].generation() + y_[1].generation();
  for (const DeviceBuffer* buffer :
       {&stage_, &operand_, &gates_, &unprojected_, &hidden_, &merged_, &features_out_, &out_}) {
    sum += buffer->generation();
  }
  return sum;
}

absl::Status Runner::RunGraph(const Shape& shape) {
  const DeviceApi& api = device_.api();
  const ModelSpec& spec = model_.spec();
  std::unique_ptr<Graph>& graph = graphs_[shape.batch];
  if (graph == nullptr || graph->generation != Generation()) {
    graph = std::make_unique<Graph>(api);
    // Plans of the products are made before: nothing may allocate while the stream is captured.
    const int32_t H = static_cast<int32_t>(spec.hidden_size);
    const int32_t S = static_cast<int32_t>(spec.hidden_state_size());
    absl::Status status;
    for (uint32_t layer = 0; layer < spec.num_layers && status.ok(); ++layer) {
      status = gemm_.Prepare(shape.batch, 4 * H, static_cast<int32_t>(spec.layer_input_size(layer)) + S);
    }
    if (status.ok() && spec.projection_size != 0) status = gemm_.Prepare(shape.batch, S, H);
    if (status.ok() && spec.head) {
      status = gemm_.Prepare(shape.wanted, static_cast<int32_t>(spec.output_size()), features_);
    }
    if (!status.ok()) return status;
    status = device_.Check(api.cudaStreamBeginCapture(device_.run_stream(), cudaStreamCaptureModeThreadLocal),
                           "beginning a capture");
    if (!status.ok()) return status;
    const absl::Status enqueued = EnqueueCells(shape);
    cudaGraph_t captured = nullptr;
    status = device_.Check(api.cudaStreamEndCapture(device_.run_stream(), &captured), "ending a capture");
    if (!enqueued.ok()) status = enqueued;
    if (status.ok()) {
      status = device_.Check(api.cudaGraphInstantiateWithFlags(&graph->exec, captured, 0), "making a graph");
    }
    if (captured != nullptr) api.cudaGraphDestroy(captured);
    if (!status.ok()) {
      graph.reset();
      return status;
    }
    graph->generation = Generation();
  }
  return device_.Check(api.cudaGraphLaunch(graph->exec, device_.run_stream()), "launching a graph");
}

absl::Status Runner::EnqueueCells(const Shape& shape) {
  const ModelSpec& spec = model_.spec();
  const bool two = spec.directions() == 2;
  TopOutput top;
  top.stride = static_cast<int32_t>(spec.hidden_state_size());
  const float* x = shape.on_device.x;
  for (uint32_t layer = 0; layer < spec.num_layers && shape.plan->batch() > 0; ++layer) {
    for (uint32_t d = 0; d < spec.directions(); ++d) {
      float* y = y_[two ? d : layer % 2].as<float>();
      for (int32_t step = 0; step < shape.plan->max_steps(); ++step) {
        if (absl::Status status = EnqueueCell(shape, layer, d, x, step, y); !status.ok()) return status;
      }
      (d == 0 ? top.forward : top.backward) = y;
    }
    x = top.forward;
    if (two && layer + 1 < spec.num_layers) {
      MergeArgs merge;
      merge.forward = top.forward;
      merge.backward = top.backward;
      merge.stride = top.stride;
      merge.out = merged_.as<float>();
      merge.rows = shape.total();
      merge.size = top.stride;
      merge.mode = static_cast<int32_t>(spec.merge_mode);
      if (absl::Status status =
              device_.Check(device_.api().launch_merge(merge, device_.run_stream()), "merging directions");
          !status.ok()) {
        return status;
      }
      x = merged_.as<float>();
    }
  }
  if (absl::Status status = EnqueueOutputs(shape, top); !status.ok()) return status;
  return EnqueueMove(shape);
}

// One step of one cell for the rows that are still active: they are the first ones, and lie together.
absl::Status Runner::EnqueueCell(const Shape& shape, uint32_t layer, uint32_t d, const float* x, int32_t step,
                                 float* y) {
  const DeviceApi& api = device_.api();
  const ModelSpec& spec = model_.spec();
  const uint32_t index = layer * spec.directions() + d;
  const DeviceCell& cell = model_.cell(index);
  const int32_t rows = shape.active(step);
  const int32_t offset = shape.plan->offset[step];
  const int32_t I = static_cast<int32_t>(spec.layer_input_size(layer));
  const int32_t H = static_cast<int32_t>(spec.hidden_size);
  const int32_t S = static_cast<int32_t>(spec.hidden_state_size());
  // The first step reads the old state from the slots, later ones the new state from the stage.
  const float* const* read =
      step == 0 ? shape.on_device.read : reinterpret_cast<const float* const*>(shape.on_device.stage);

  GatherArgs gather;
  gather.x = d == 1 ? x : x + int64_t{offset} * I;
  gather.x_index = d == 1 ? shape.on_device.reversed + offset : nullptr;
  gather.state = read;
  gather.h_offset = static_cast<int32_t>(index) * S;
  gather.rows = rows;
  gather.x_size = I;
  gather.h_size = S;
  gather.operand = operand_.as<void>();
  gather.element = model_.element();
  absl::Status status = device_.Check(api.launch_gather(gather, device_.run_stream()), "gathering [x, h]");
  if (status.ok()) {
    status = gemm_.Run(operand_.as<void>(), cell.wr.as<void>(), gates_.as<float>(), rows, 4 * H, I + S);
  }
  if (!status.ok()) return status;

  CellArgs args;
  args.gates = gates_.as<float>();
  args.bias = cell.bias.as<float>();
  args.peepholes = cell.peepholes.as<float>();
  args.read = read;
  args.write = shape.on_device.stage;
  args.h_offset = static_cast<int32_t>(index) * S;
  args.c_offset = static_cast<int32_t>(spec.h_size() + index * spec.hidden_size);
  args.rows = rows;
  args.hidden_size = H;
  args.functions = FunctionsOf(spec.activations[d]);
  args.clip = spec.clip;
  args.input_forget = spec.input_forget;
  args.y = d == 1 ? y : y + int64_t{offset} * S;
  args.y_index = d == 1 ? shape.on_device.reversed + offset : nullptr;
  args.y_stride = S;
  args.element = model_.element();
  if (spec.projection_size != 0) args.unprojected = unprojected_.as<void>();
  status = device_.Check(api.launch_cell(args, device_.run_stream()), "updating the cell");
  if (!status.ok() || spec.projection_size == 0) return status;

  status = gemm_.Run(unprojected_.as<void>(), cell.projection.as<void>(), hidden_.as<float>(), rows, S, H);
  if (!status.ok()) return status;
  StoreHiddenArgs store;
  store.hidden = hidden_.as<float>();
  store.write = args.write;
  store.h_offset = args.h_offset;
  store.rows = rows;
  store.size = S;
  store.y = args.y;
  store.y_index = args.y_index;
  store.y_stride = S;
  return device_.Check(api.launch_store_hidden(store, device_.run_stream()), "storing the hidden state");
}

absl::Status Runner::EnqueueOutputs(const Shape& shape, const TopOutput& top) {
  if (shape.wanted == 0) return absl::OkStatus();
  const DeviceApi& api = device_.api();
  const ModelSpec& spec = model_.spec();
  MergeArgs pick;
  pick.forward = top.forward;
  pick.backward = spec.directions() == 2 ? (top.backward != nullptr ? top.backward : y_[1].as<float>()) : nullptr;
  pick.stride = top.stride;
  pick.forward_index = shape.on_device.wanted_forward;
  pick.backward_index = shape.on_device.wanted_backward;
  pick.out = features_out_.as<float>();
  pick.rows = shape.wanted;
  pick.size = static_cast<int32_t>(spec.hidden_state_size());
  pick.mode = static_cast<int32_t>(spec.merge_mode);
  absl::Status status = device_.Check(api.launch_merge(pick, device_.run_stream()), "picking outputs");
  if (!status.ok() || !spec.head) return status;

  const void* operand = features_out_.as<void>();
  if (model_.element() != Element::kF32) {
    ConvertArgs narrow;
    narrow.from = operand;
    narrow.to = operand_.as<void>();
    narrow.to_element = model_.element();
    narrow.size = int64_t{shape.wanted} * features_;
    status = device_.Check(api.launch_convert(narrow, device_.run_stream()), "narrowing the head's input");
    operand = operand_.as<void>();
  }
  HeadArgs head;
  head.y = out_.as<float>();
  head.bias = model_.head_bias();
  head.rows = shape.wanted;
  head.size = static_cast<int32_t>(spec.output_size());
  head.activation = ActivationOf(spec.head->activation);
  if (status.ok()) status = gemm_.Run(operand, model_.head_weight(), head.y, head.rows, head.size, features_);
  if (!status.ok()) return status;
  return device_.Check(api.launch_head(head, device_.run_stream()), "applying the head");
}

absl::Status Runner::EnqueueMove(const Shape& shape) {
  const ModelSpec& spec = model_.spec();
  MoveStateArgs move;
  move.read = reinterpret_cast<const float* const*>(shape.on_device.stage);
  move.write = shape.on_device.slots;
  move.rows = shape.batch;
  move.cells = static_cast<int32_t>(spec.cells());
  move.h_size = static_cast<int32_t>(spec.hidden_state_size());
  move.c_size = static_cast<int32_t>(spec.hidden_size);
  return device_.Check(device_.api().launch_move_state(move, device_.run_stream()), "moving states into their slots");
}

absl::Status Runner::Finish(const Shape& shape, CudnnStatePool& pool) {
  const DeviceApi& api = device_.api();
  const size_t O = model_.spec().output_size();
  const BatchPlan& plan = *shape.plan;
  absl::Status status;
  for (Slot slot : plan.to_zero) {
    status =
        device_.Check(api.cudaMemsetAsync(pool.row(slot), 0, model_.row_size() * sizeof(float), device_.run_stream()),
                      "zeroing a state");
    if (!status.ok()) return status;
  }
  if (!plan.wanted.empty()) {
    const float* from = model_.spec().head ? out_.as<float>() : features_out_.as<float>();
    status = device_.Check(api.cudaMemcpyAsync(pinned_out_.as<void>(), from, plan.wanted.size() * O * sizeof(float),
                                               cudaMemcpyDeviceToHost, device_.run_stream()),
                           "fetching outputs");
  }
  if (status.ok()) {
    status = device_.Check(api.cudaStreamSynchronize(device_.run_stream()), "waiting for the batch");
  }
  if (!status.ok()) return status;
  const float* host = pinned_out_.as<float>();
  for (size_t i = 0; i < plan.wanted.size(); ++i) {
    const WantedOutput& want = plan.wanted[i];
    if (want.same_as != nullptr) {
      std::memcpy(want.to, want.same_as, O * sizeof(float));
    } else if (want.forward == kZeros && want.backward == kZeros) {
      std::fill_n(want.to, O, 0.0f);  // padding is zero behind the head, too
    } else {
      std::memcpy(want.to, host + i * O, O * sizeof(float));
    }
  }
  return status;
}

}  // namespace lstmd::cudnn
