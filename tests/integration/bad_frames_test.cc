// SPDX-License-Identifier: Apache-2.0
//
// Bad input on a stream: a failure of the item, with the stream and everything else going on.
#include "tests/integration/bad_input.h"
#include "tests/integration/stream_client.h"
#include "tests/support/models.h"

namespace lstmd {
namespace {

struct BadFrame {
  const char* name;
  std::function<void(v1::StreamStepsRequest&)> spoil;
  // One line for each failure: "handle id: CODE / REASON at field".
  std::vector<std::string> want;
};

std::string Line(const v1::StepFailure& failure) {
  return std::to_string(failure.handle()) + " " + std::to_string(failure.steps_id()) + ": " +
         Shown(Decode(failure.error()));
}

TEST_F(BadInputTest, Frames) {
  Start();
  const auto block = [](v1::StreamStepsRequest& frame) { return frame.mutable_steps(0); };
  const auto only_bind = [](v1::StreamStepsRequest& frame, uint32_t handle, const std::string& session) {
    frame.Clear();
    frame.add_binds()->set_handle(handle);
    frame.mutable_binds(0)->set_session(session);
  };
  const std::vector<BadFrame> cases = {
      {"empty", [](auto& f) { f.Clear(); }, {"0 0: INVALID_ARGUMENT / EMPTY_FRAME"}},
      {"too many handles",
       [&](auto& f) { block(f)->mutable_handles()->Resize(70'000, 0); },
       {"0 0: INVALID_ARGUMENT / FRAME_TOO_LARGE"}},
      {"no handles",
       [&](auto& f) { block(f)->clear_handles(); },
       {"0 5: INVALID_ARGUMENT / EMPTY_BLOCK at steps[0].handles"}},
      {"a handle never bound",
       [&](auto& f) { block(f)->set_handles(0, 9); },
       {"9 5: INVALID_ARGUMENT / HANDLE_UNBOUND at steps[0].handles[0]"}},
      {"no input",
       [&](auto& f) { block(f)->clear_input(); },
       {"0 5: INVALID_ARGUMENT / TENSOR_SHAPE at steps[0].input.shape"}},
      {"rank 1",
       [&](auto& f) { SetShape(block(f)->mutable_input(), {3}); },
       {"0 5: INVALID_ARGUMENT / TENSOR_SHAPE at steps[0].input.shape"}},
      {"size",
       [&](auto& f) {
         *block(f)->mutable_input() = MakeTensor({1, 4}, {1, 2, 3, 4});
       },
       {"0 5: INVALID_ARGUMENT / TENSOR_SHAPE at steps[0].input.shape"}},
      {"two rows for one handle",
       [&](auto& f) {
         *block(f)->mutable_input() = MakeTensor({2, 3}, {1, 2, 3, 4, 5, 6});
       },
       {"0 5: INVALID_ARGUMENT / TENSOR_SHAPE at steps[0].input.shape"}},
      {"no time step",
       [&](auto& f) {
         *block(f)->mutable_input() = MakeTensor({1, 0, 3}, {});
       },
       {"0 5: INVALID_ARGUMENT / TENSOR_SHAPE at steps[0].input.shape"}},
      {"bytes",
       [&](auto& f) { block(f)->mutable_input()->mutable_data()->pop_back(); },
       {"0 5: INVALID_ARGUMENT / TENSOR_BYTES at steps[0].input.data"}},
      {"dtype",
       [&](auto& f) { block(f)->mutable_input()->set_dtype(static_cast<v1::DataType>(7)); },
       {"0 5: INVALID_ARGUMENT / TENSOR_DTYPE at steps[0].input.dtype"}},
      {"two numbers for one handle",
       [&](auto& f) { block(f)->mutable_seqs()->Resize(2, 1); },
       {"0 5: INVALID_ARGUMENT / SEQ_COUNT at steps[0].seqs"}},
      {"a block that is wrong fails for each handle",
       [&](auto& f) { block(f)->add_handles(3); },
       {"0 5: INVALID_ARGUMENT / TENSOR_SHAPE at steps[0].input.shape",
        "3 5: INVALID_ARGUMENT / TENSOR_SHAPE at steps[0].input.shape"}},
      {"a handle of a model with another input size",
       [&](auto& f) { block(f)->set_handles(0, 1); },
       {"1 5: INVALID_ARGUMENT / TENSOR_SHAPE at steps[0].input.shape"}},
      {"a gap", [&](auto& f) { block(f)->add_seqs(8); }, {"0 5: OUT_OF_RANGE / STEP_GAP at seq"}},
      {"bound twice",
       [&](auto& f) { only_bind(f, 0, SessionName("m", "other")); },
       {"0 0: INVALID_ARGUMENT / HANDLE_BOUND at binds[0].handle"}},
      {"a large handle",
       [&](auto& f) { only_bind(f, 1'048'576, SessionName("m", "other")); },
       {"1048576 0: INVALID_ARGUMENT / HANDLE_RANGE at binds[0].handle"}},
      {"bind: name",
       [&](auto& f) { only_bind(f, 4, "a"); },
       {"4 0: INVALID_ARGUMENT / RESOURCE_NAME at binds[0].session"}},
      {"bind: unknown session",
       [&](auto& f) { only_bind(f, 4, SessionName("m", "none")); },
       {"4 0: NOT_FOUND / SESSION_NOT_FOUND"}},
      {"bind: unknown model",
       [&](auto& f) { only_bind(f, 4, SessionName("none", "a")); },
       {"4 0: NOT_FOUND / MODEL_NOT_FOUND"}},
      {"bind: bidirectional",
       [&](auto& f) {
         only_bind(f, 4, SessionName("bi", "a"));
         f.mutable_binds(0)->set_create_if_missing(true);
       },
       {"4 0: FAILED_PRECONDITION / NOT_STEPPABLE"}},
      {"bind: stale epoch",
       [&](auto& f) {
         only_bind(f, 4, SessionName("m", "a"));
         f.mutable_binds(0)->set_epoch(2);
       },
       {"4 0: ABORTED / SESSION_FENCED at binds[0].epoch"}},
      {"unbind: never bound",
       [](auto& f) {
         f.Clear();
         f.add_unbinds()->set_handle(6);
       },
       {"6 0: INVALID_ARGUMENT / HANDLE_UNBOUND at unbinds[0].handle"}},
  };
  StreamClient stream(inference_.get());
  ASSERT_TRUE(stream.Write(BindFrame({a_, SessionName("wide", "w"), other_})));
  stream.ReadAnswers(3);
  ASSERT_EQ(stream.bounds.size(), 3u);
  for (const BadFrame& bad : cases) {
    SCOPED_TRACE(bad.name);
    v1::StreamStepsRequest frame = StepFrame(5, {0}, MakeTensor({1, 3}, {1, 2, 3}));
    bad.spoil(frame);
    stream.failures.clear();
    ASSERT_TRUE(stream.Write(frame));
    stream.ReadAnswers(stream.answers() + bad.want.size());
    std::vector<std::string> got;
    for (const v1::StepFailure& failure : stream.failures) got.push_back(Line(failure));
    EXPECT_EQ(got, bad.want);
    // The stream itself goes on, too.
    const size_t before = stream.results[2].size();
    ASSERT_TRUE(stream.Write(StepFrame(1, {2}, MakeTensor({1, 3}, {1, 2, 3}))));
    stream.ReadAnswers(stream.answers() + 1);
    EXPECT_EQ(stream.results[2].size(), before + 1);
    ExpectNothingLost();
  }
  ASSERT_TRUE(stream.WritesDone());
  EXPECT_TRUE(stream.Finish().ok());
}

TEST_F(BadInputTest, ABadHandleFailsAloneInItsBlock) {
  Start();
  StreamClient stream(inference_.get());
  ASSERT_TRUE(stream.Write(BindFrame({a_, other_})));
  ASSERT_TRUE(stream.Write(StepFrame(3, {1, 8, 1}, MakeTensor({3, 3}, test::SeededFloats(1, 9, 1.0f)))));
  ASSERT_TRUE(stream.WritesDone());
  EXPECT_TRUE(stream.Finish().ok());
  ASSERT_EQ(stream.failures.size(), 1u);
  EXPECT_EQ(Line(stream.failures[0]), "8 3: INVALID_ARGUMENT / HANDLE_UNBOUND at steps[0].handles[1]");
  EXPECT_EQ(stream.results[1].size(), 2u);
  ExpectNothingLost();
}

TEST_F(BadInputTest, AnOversizedFrameEndsTheStreamAndNothingElse) {
  options_.limits.max_message_bytes = 1 << 20;
  Start();
  StreamClient stream(inference_.get());
  ASSERT_TRUE(stream.Write(BindFrame({a_})));
  stream.ReadAnswers(1);
  stream.Write(StepFrame(1, {0}, MakeTensor({1, 200'000, 3}, std::vector<float>(600'000))));
  const grpc::Status status = stream.Finish();
  EXPECT_FALSE(status.ok());
  EXPECT_TRUE(stream.results.empty());
  ExpectNothingLost();
}

TEST_F(BadInputTest, RepliesThatWouldBeTooLargeAreRefused) {
  options_.limits.max_message_bytes = 1 << 20;
  Start();
  StreamClient stream(inference_.get());
  ASSERT_TRUE(stream.Write(BindFrame({SessionName("wide", "w")})));
  // 400 KB in, twice as much out: the first fits the megabyte, the second does not any more.
  v1::StreamStepsRequest frame = StepFrame(1, {0}, MakeTensor({1, 25'000, 4}, std::vector<float>(100'000)));
  *frame.add_steps() = frame.steps(0);
  ASSERT_TRUE(stream.Write(frame));
  ASSERT_TRUE(stream.WritesDone());
  EXPECT_TRUE(stream.Finish().ok());
  ASSERT_EQ(stream.failures.size(), 1u);
  EXPECT_EQ(Line(stream.failures[0]), "0 1: INVALID_ARGUMENT / REPLY_TOO_LARGE at steps[1].input");
  EXPECT_EQ(stream.results[0].size(), 1u);
}

}  // namespace
}  // namespace lstmd
