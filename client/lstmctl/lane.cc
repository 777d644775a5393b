// SPDX-License-Identifier: Apache-2.0
#include "client/lstmctl/lane.h"

#include <deque>
#include <optional>
#include <random>
#include <type_traits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/error.h"
#include "grpcpp/client_context.h"

namespace lstmd::client {

Lane::Lane(Client* client, const LoadOptions& options, const LoadClock& clock, std::vector<std::string> sessions,
           uint32_t input_size, uint32_t output_size)
    : client_(client),
      options_(options),
      clock_(clock),
      sessions_(std::move(sessions)),
      input_size_(input_size),
      output_size_(output_size),
      inputs_(sessions_.size() * input_size) {
  std::minstd_rand random(1);
  std::uniform_real_distribution<float> uniform(-1, 1);
  for (float& value : inputs_) value = uniform(random);
}

void Lane::MakeFlights() {
  const size_t groups = (sessions_.size() + options_.handles - 1) / options_.handles;
  flights_.resize(options_.in_flight > 0 ? options_.in_flight : groups);
  MutexLock lock(&mutex_);
  // Groups that wait while all flights are in the air; with more flights than groups, none does.
  for (size_t i = 0; i < flights_.size(); ++i) flights_[i].group = static_cast<uint32_t>(i % groups);
  for (size_t i = flights_.size(); i < groups; ++i) waiting_.push_back(static_cast<uint32_t>(i));
}

void Lane::Start() {
  MakeFlights();
  Prepare();
  if (options_.rate > 0) return;
  {
    MutexLock lock(&mutex_);
    for (Flight& flight : flights_) Depart(&flight, NowNanos());
  }
  for (Flight& flight : flights_) Send(&flight);
}

void Lane::Tick(size_t k, int64_t due_nanos, int64_t period_nanos) {
  Flight& flight = flights_[k];
  {
    MutexLock lock(&mutex_);
    period_nanos_ = period_nanos;
    if (flight.busy) {
      ++flight.behind;
      return;
    }
    if (flight.failed && !options_.keep_going) return;
    Depart(&flight, due_nanos);
  }
  Send(&flight);
}

void Lane::Depart(Flight* flight, int64_t nanos) {
  if (!flight->busy) ++open_flights_;
  flight->busy = true;
  flight->remaining = static_cast<uint32_t>(group_size(flight->group));
  flight->failed = false;
  counts_.requests += flight->remaining;
  flight->sent_nanos = nanos;
}

void Lane::Abort(Flight* flight, const absl::Status& status) {
  CountError(status);
  MutexLock lock(&mutex_);
  counts_.requests -= flight->remaining;
  flight->failed = true;
  flight->busy = false;
  if (--open_flights_ == 0) idle_.SignalAll();
}

bool Lane::Answer(Flight* flight, const absl::Status& status, size_t outputs) {
  if (!status.ok() || outputs != output_size_) {
    flight->failed = true;
    CountError(status.ok() ? absl::InternalError(absl::StrCat("got ", outputs, " outputs, want ", output_size_))
                           : status);
  }
  return --flight->remaining == 0;
}

bool Lane::Land(Flight* flight) {
  const int64_t now = NowNanos();
  const size_t replies = group_size(flight->group);
  const size_t steps = replies * std::max<uint32_t>(options_.sequence, 1);
  MutexLock lock(&mutex_);
  counts_.replies += replies;
  const int64_t send_until = clock_.send_until.load(std::memory_order_relaxed);
  const bool paced = options_.rate > 0;
  // Of a server that cannot keep up, what is answered was due long ago.
  if (!flight->failed && (paced ? now : flight->sent_nanos) >= clock_.measure_from.load(std::memory_order_relaxed) &&
      now <= send_until) {
    counts_.steps += steps;
    ++counts_.messages;
    counts_.latency.Add(static_cast<uint64_t>(now - flight->sent_nanos));
  }
  const bool over = now >= send_until || (flight->failed && !options_.keep_going);
  if (over || (paced && flight->behind == 0)) {
    counts_.unsent += std::exchange(flight->behind, 0);
    flight->busy = false;
    if (--open_flights_ == 0) idle_.SignalAll();
    return false;
  }
  if (!waiting_.empty()) {
    std::swap(flight->group, waiting_[next_]);
    if (++next_ == waiting_.size()) next_ = 0;
  }
  if (paced) --flight->behind;
  Depart(flight, paced ? flight->sent_nanos + period_nanos_ : now);
  return true;
}

void Lane::CountError(const absl::Status& status) {
  MutexLock lock(&mutex_);
  ++counts_.errors;
  if (counts_.first_error.ok()) counts_.first_error = status;
}

void Lane::AddRecoveries(uint64_t reconnects, uint64_t resends) {
  MutexLock lock(&mutex_);
  counts_.reconnects += reconnects;
  counts_.resends += resends;
}

bool Lane::WaitIdle(int64_t until_nanos) {
  MutexLock lock(&mutex_);
  while (open_flights_ > 0) {
    const int64_t left = until_nanos - NowNanos();
    if (left <= 0) return false;
    idle_.WaitFor(&mutex_, absl::Nanoseconds(left));
  }
  return true;
}

LaneCounts Lane::TakeCounts() {
  MutexLock lock(&mutex_);
  return std::exchange(counts_, LaneCounts());
}

namespace {

// S: Stream or ResumableStream.
template <typename S>
class StreamLane final : public Lane {
 public:
  using Lane::Lane;

  absl::Status Open() override {
    OpenStream();
    BindOptions bind;
    bind.create_if_missing = true;
    absl::StatusOr<std::vector<Binding>> bindings = stream_->BindAll(sessions_, bind);
    if (!bindings.ok()) return bindings.status();
    for (const Binding& binding : *bindings) handles_.push_back(binding.handle);
    return absl::OkStatus();
  }

  void Close() override {
    absl::Status status;
    for (const uint32_t handle : handles_) {
      WaitForDeletes();
      if (status.ok()) status = stream_->Unbind(handle, /*delete_session=*/true);
    }
    if (status.ok()) status = stream_->Finish();
    CountRecoveries();
    stream_.reset();
    if (status.ok() && handles_.size() == sessions_.size()) return;
    if (!status.ok()) CountError(status);
    for (const std::string& session : sessions_) {
      status = client_->OpenSession(session).Delete(/*allow_missing=*/true);
      if (!status.ok()) return CountError(status);
    }
  }

 private:
  void OpenStream() {
    constexpr uint32_t kUnbounded = UINT32_MAX;  // the loop is closed: the lane itself bounds it
    const auto on_failure = [this](uint32_t, const absl::Status& status) {
      CountError(status);
      Deleted();
    };
    const auto on_event = [this](const v1::SessionEvent& event) {
      if (event.kind() == v1::SessionEvent::DELETED) Deleted();
    };
    if constexpr (std::is_same_v<S, ResumableStream>) {
      ResumeOptions stream;
      stream.max_in_flight = kUnbounded;
      stream.on_failure = on_failure;
      stream.on_event = on_event;
      stream_ = client_->OpenResumableStream(std::move(stream));
    } else {
      StreamOptions stream;
      stream.max_in_flight = kUnbounded;
      stream.coalesce = options_.coalesce;
      stream.on_failure = on_failure;
      stream.on_event = on_event;
      stream_ = client_->OpenStream(std::move(stream));
    }
  }

  // A server takes only so many deletions at once. One that is not answered in time is not waited for.
  void WaitForDeletes() {
    constexpr uint32_t kDeletes = 1000;
    const int64_t until = NowNanos() + 10'000'000'000;
    MutexLock lock(&deletes_mutex_);
    while (deletes_ >= kDeletes && NowNanos() < until)
      deletes_changed_.WaitFor(&deletes_mutex_, absl::Milliseconds(100));
    ++deletes_;
  }

  void Deleted() {
    MutexLock lock(&deletes_mutex_);
    if (deletes_ > 0) --deletes_;
    deletes_changed_.SignalAll();
  }

  void CountRecoveries() {
    if constexpr (std::is_same_v<S, ResumableStream>) {
      const ResumeStats stats = stream_->stats();
      AddRecoveries(stats.connects - 1, stats.resends + stats.replays);
    }
  }

  void Send(Flight* flight) override {
    Steps steps;
    steps.handles = absl::MakeConstSpan(handles_).subspan(group_begin(flight->group), group_size(flight->group));
    steps.input = GroupInput(flight->group);
    // The capture is small enough to be kept without an allocation.
    const absl::Status sent = stream_->TrySend(steps, [this, flight](const StepResult& result) {
      if (Answer(flight, result.status, result.output.size()) && Land(flight)) Send(flight);
    });
    if (!sent.ok()) Abort(flight, sent);
  }

  std::vector<uint32_t> handles_;
  Mutex deletes_mutex_;
  CondVar deletes_changed_;
  uint32_t deletes_ ABSL_GUARDED_BY(deletes_mutex_) = 0;  // on their way
  std::unique_ptr<S> stream_;                             // last: it calls back
};

class UnaryLane final : public Lane {
 public:
  using Lane::Lane;

  absl::Status Open() override {
    requests_.resize((sessions_.size() + options_.handles - 1) / options_.handles);
    for (uint32_t group = 0; group < requests_.size(); ++group) {
      const absl::Span<const float> input = GroupInput(group);
      for (size_t k = 0; k < group_size(group); ++k) {
        v1::StepItem* item = requests_[group].add_items();
        item->set_session(sessions_[group_begin(group) + k]);
        const int64_t shape[] = {input_size_};
        ToTensor(input.subspan(k * input_size_, input_size_), shape, item->mutable_input());
        item->set_create_if_missing(true);
      }
      // The first step makes the sessions.
      absl::StatusOr<v1::StepResponse> response = client_->Step(requests_[group]);
      if (!response.ok()) return response.status();
      for (const v1::StepResult& result : response->results()) {
        if (result.has_error()) return FromProto(result.error());
      }
      for (v1::StepItem& item : *requests_[group].mutable_items()) item.set_create_if_missing(false);
    }
    return absl::OkStatus();
  }

  void Prepare() override { calls_.resize(flights_.size()); }

  void Close() override {
    for (const std::string& session : sessions_) {
      const absl::Status status = client_->OpenSession(session).Delete(/*allow_missing=*/true);
      if (!status.ok()) return CountError(status);
    }
  }

 private:
  struct Call {
    std::optional<grpc::ClientContext> context;
    v1::StepResponse response;
  };

  void Send(Flight* flight) override {
    Call& call = calls_[static_cast<size_t>(flight - flights_.data())];
    call.context.emplace();
    client_->Prepare(&*call.context);
    client_->StepAsync(&*call.context, &requests_[flight->group], &call.response,
                       [this, flight](const absl::Status& status) { Receive(flight, status); });
  }

  void Receive(Flight* flight, const absl::Status& status) {
    const v1::StepResponse& response = calls_[static_cast<size_t>(flight - flights_.data())].response;
    const int count = static_cast<int>(flight->remaining);
    for (int k = 0; k < count; ++k) {
      absl::Status item = status;
      size_t outputs = 0;
      if (item.ok() && response.results_size() != count) {
        item = absl::InternalError(absl::StrCat("got ", response.results_size(), " results, want ", count));
      }
      if (item.ok()) {
        if (response.results(k).has_error()) item = FromProto(response.results(k).error());
        outputs = response.results(k).output().data().size() / sizeof(float);
      }
      Answer(flight, item, outputs);
    }
    if (Land(flight)) Send(flight);
  }

  std::vector<v1::StepRequest> requests_;  // one for each group
  std::deque<Call> calls_;                 // one for each flight
};

}  // namespace

std::unique_ptr<Lane> MakeStreamLane(Client* client, const LoadOptions& options, const LoadClock& clock,
                                     std::vector<std::string> sessions, uint32_t input_size, uint32_t output_size) {
  if (options.resume) {
    return std::make_unique<StreamLane<ResumableStream>>(client, options, clock, std::move(sessions), input_size,
                                                         output_size);
  }
  return std::make_unique<StreamLane<Stream>>(client, options, clock, std::move(sessions), input_size, output_size);
}

std::unique_ptr<Lane> MakeUnaryLane(Client* client, const LoadOptions& options, const LoadClock& clock,
                                    std::vector<std::string> sessions, uint32_t input_size, uint32_t output_size) {
  return std::make_unique<UnaryLane>(client, options, clock, std::move(sessions), input_size, output_size);
}

}  // namespace lstmd::client
