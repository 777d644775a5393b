// SPDX-License-Identifier: Apache-2.0
#include "server/run_sequences.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/errors.h"
#include "server/errors.h"

namespace lstmd::server {

RunSequencesCall::RunSequencesCall(const Context& context, const grpc::CallbackServerContext& call,
                                   const v1::RunSequencesRequest* request, v1::RunSequencesResponse* response)
    : UnaryWorkCall(context, call, "RunSequences"), request_(*request), response_(*response) {}

absl::StatusOr<std::shared_ptr<Model>> RunSequencesCall::FindModel() {
  absl::StatusOr<std::string_view> name = ParseModelName(request_.model(), caller());
  if (!name.ok()) return PrefixField(name.status(), "model");
  if (request_.version() < 0) {
    return InvalidArgument("MODEL_VERSION", absl::StrCat("got version ", request_.version(), ", want 0 or more"))
        .Field("version");
  }
  return context().engine->FindModel(*name, request_.version());
}

void RunSequencesCall::Begin() {
  const int count = request_.sequences_size();
  const Limits& limits = context().limits;
  if (count < 1 || count > limits.max_items) {
    Fail(InvalidArgument("ITEM_COUNT", absl::StrCat("got ", count, " sequences, want 1 to ", limits.max_items))
             .Field("sequences")
             .With("got", std::to_string(count)));
    return;
  }
  const auto& sequences = request_.sequences();
  const bool in_memory = std::all_of(sequences.begin(), sequences.end(), [this](const v1::Sequence& sequence) {
    return sequence.session().empty() || IsInMemory(context().engine, caller(), sequence.session());
  });
  in_memory ? AddAll(Lookup::kMemory) : RunInPool([this] { AddAll(Lookup::kStore); });
}

void RunSequencesCall::AddAll(Lookup lookup) {
  const int count = request_.sequences_size();
  absl::StatusOr<std::shared_ptr<Model>> model = FindModel();
  if (!model.ok()) {
    Fail(model.status());
    return;
  }
  response_.set_model_version(VersionOf(**model));
  response_.mutable_results()->Reserve(count);
  errors_.resize(static_cast<size_t>(count));
  ReplyBudget budget(context().limits.max_message_bytes);
  int64_t rows_left = context().limits.max_rows;
  for (int i = 0; i < count; ++i) {
    const auto index = static_cast<size_t>(i);
    SequenceItem& item = items_.emplace_back(request_.sequences(i), *model, response_.add_results());
    const absl::Status status = item.Check(context(), caller(), lookup, &scratch(), &budget, &rows_left);
    if (!status.ok()) {
      errors_[index] = InItem(status, "sequences", index);
      continue;
    }
    for (int64_t n = 0; n < item.rows(); ++n) {
      ItemWork& work = AddWork(index, static_cast<size_t>(n));
      item.Prepare(n, &work);
      work.want_version = request_.version();
    }
  }
  Run();
}

void RunSequencesCall::OnWorkDone(ItemWork& work, const absl::Status& status) {
  if (!status.ok()) {
    if (errors_[work.item].ok()) errors_[work.item] = InItem(status, "sequences", work.item);
    return;
  }
  if (work.result_version != 0) response_.set_model_version(work.result_version);
  items_[work.item].Take(work);
}

absl::Status RunSequencesCall::Complete() {
  if (errors_.size() == 1 && !errors_[0].ok()) return errors_[0];
  for (size_t i = 0; i < errors_.size(); ++i) {
    if (errors_[i].ok()) {
      items_[i].Assemble();
      continue;
    }
    v1::SequenceResult& result = *response_.mutable_results(static_cast<int>(i));
    result.Clear();
    ReportItem(errors_[i]);
    SetRpcStatus(errors_[i], result.mutable_error());
  }
  return absl::OkStatus();
}

}  // namespace lstmd::server
