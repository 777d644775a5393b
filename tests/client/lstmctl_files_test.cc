// SPDX-License-Identifier: Apache-2.0
//
// lstmctl with files: streams of rows, whole sequences, import; and the example program.
#include <filesystem>
#include <string>
#include <vector>

#include "client/lstmctl/npy.h"
#include "client/lstmctl/rows.h"
#include "tests/client/lstmctl_fixture.h"

namespace lstmd {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

namespace fs = std::filesystem;

constexpr char kRows[] = "a,b,c\n0.1,0.2,0.3\n-1,0,1\n0.5,0.25,0\n";

using LstmctlFilesTest = LstmctlTest;

client::Array Csv(const std::string& path) {
  const absl::StatusOr<client::Array> rows = client::ReadRows(path, {});
  EXPECT_TRUE(rows.ok()) << rows.status();
  return rows.ok() ? *rows : client::Array();
}

TEST_F(LstmctlFilesTest, StreamIsRunStepByStep) {
  StartCpu();
  const std::string csv = File("in.csv", kRows);
  const std::string run = Out({"run", "m", csv});
  EXPECT_EQ(std::count(run.begin(), run.end(), '\n'), 3);
  EXPECT_EQ(Out({"stream", "m", csv}), run);
  EXPECT_EQ(Out({"stream", "m"}, kRows), run) << "from standard input";
  EXPECT_EQ(Out({"stream", "m", csv, "--in-flight", "1"}), run);
  EXPECT_EQ(Out({"stream", "m", csv, "--resume"}), run);
  const std::string both = "127.0.0.1:1," + address_;
  EXPECT_EQ(RunProcess({LSTMCTL, "--server", both, "stream", "m", csv, "--resume"}, folder_).out, run)
      << "the first address serves nobody";
  EXPECT_EQ(RunProcess({LSTMCTL, "--server", both, "run", "m", csv}, folder_).out, run);
  Out({"stream", "m", csv, "--out", File("out.csv")});
  EXPECT_EQ(ReadText(File("out.csv")), run);
  EXPECT_EQ(Json({"info"})["sessions"], 0) << "sessions of a stream's own end with it";

  // In one session, in two parts.
  EXPECT_THAT(Error({"stream", "m/s", csv}), HasSubstr("SESSION_NOT_FOUND"));
  const std::string first = Out({"stream", "m/s", "--create"}, "0.1,0.2,0.3\n");
  const std::string rest = Out({"stream", "m/s"}, "-1,0,1\n0.5,0.25,0\n");
  EXPECT_EQ(first + rest, run);
  EXPECT_EQ(Json({"get", "m/s"})["steps"], 3);

  // .npy in and out, other columns, JSON lines.
  const client::Array rows = Csv(csv);
  ASSERT_TRUE(client::WriteNpy(File("in.npy"), rows).ok());
  Out({"stream", "m", File("in.npy"), "--out", File("out.npy")});
  const absl::StatusOr<client::Array> npy = client::ReadNpy(File("out.npy"));
  ASSERT_TRUE(npy.ok()) << npy.status();
  EXPECT_THAT(npy->shape, ElementsAre(3, 2));
  EXPECT_EQ(npy->values, Csv(File("out.csv")).values);
  EXPECT_EQ(Out({"stream", "m", File("wide.csv", "t,a,b,c\nx,0.1,0.2,0.3\n"), "--columns", "a,b,c"}), first);
  EXPECT_EQ(nlohmann::json::parse(Out({"stream", "m", "--json"}, "0.1,0.2,0.3\n")).size(), 2u);
  EXPECT_THAT(Out({"stream", "m"}, ""), IsEmpty());
}

TEST_F(LstmctlFilesTest, StreamNamesTheLineThatIsWrong) {
  StartCpu();
  const ProcessResult bad = Ctl({"stream", "m", File("bad.csv", "1,2,3\n4,5,6\n7,eight,9\n")});
  EXPECT_EQ(bad.exit_status, 1);
  EXPECT_THAT(bad.err, HasSubstr("bad.csv:3: column 2: 'eight' is not a number"));
  EXPECT_EQ(std::count(bad.out.begin(), bad.out.end(), '\n'), 2) << "what came before it is answered";
  EXPECT_THAT(Error({"stream", "m", File("two.csv", "1,2\n")}), HasSubstr("two.csv:1: got 2 numbers, want 3"));
  EXPECT_THAT(Error({"stream", "m", File("none.csv")}), HasSubstr("cannot open"));
  EXPECT_THAT(Error({"stream", "none"}), HasSubstr("MODEL_NOT_FOUND"));
  EXPECT_THAT(Error({"stream", "bi", File("two.csv")}), HasSubstr("NOT_STEPPABLE"));
  EXPECT_THAT(Error({"stream", "m", "--out", File("no/such/folder.csv")}, 1, kRows), HasSubstr("cannot write"));
  EXPECT_EQ(Json({"info"})["sessions"], 0);
}

TEST_F(LstmctlFilesTest, StreamStopsAtAFailedStep) {
  StartFake();
  control_->FailRun(absl::InternalError("planted"), 1);
  const ProcessResult result = Ctl({"stream", "m", File("in.csv", kRows), "--in-flight", "1"});
  EXPECT_EQ(result.exit_status, 1);
  EXPECT_THAT(result.err, AllOf(HasSubstr("in.csv:3"), HasSubstr("planted")));
  EXPECT_EQ(std::count(result.out.begin(), result.out.end(), '\n'), 1);
}

TEST_F(LstmctlFilesTest, RunTakesBatchesLengthsAndStates) {
  StartCpu();
  const client::Array one = Csv(File("in.csv", kRows));
  client::Array batch{{2, 3, 3}, one.values};
  batch.values.insert(batch.values.end(), one.values.begin(), one.values.end());
  ASSERT_TRUE(client::WriteNpy(File("batch.npy"), batch).ok());

  const nlohmann::json all = Json({"run", "m", File("batch.npy"), "--lengths", "3,1", "--state"});
  EXPECT_EQ(all["shape"], (std::vector<int>{2, 3, 2}));
  EXPECT_EQ(all["output"][0][0], all["output"][1][0]);
  EXPECT_EQ(all["output"][1][2], (std::vector<float>{0, 0}));
  EXPECT_EQ(all["final_state"]["h"].size(), 2u);
  const nlohmann::json last = Json({"run", "m", File("batch.npy"), "--lengths", "3,1", "--outputs", "last"});
  EXPECT_EQ(last["output"][0], all["output"][0][2]);
  EXPECT_EQ(last["output"][1], all["output"][1][0]);
  EXPECT_EQ(Json({"run", "bi", File("in.csv"), "--outputs", "final"})["shape"], (std::vector<int>{10}));

  EXPECT_THAT(Out({"run", "m", File("batch.npy"), "--state"}),
              AllOf(HasSubstr("# sequence 1"), HasSubstr("# final h [2, 2, 5]")));
  Out({"run", "m", File("batch.npy"), "--out", File("out.npy")});
  EXPECT_THAT(client::ReadNpy(File("out.npy"))->shape, ElementsAre(2, 3, 2));

  // A sequence in two halves, the state between them in files.
  const std::string whole = Out({"run", "m", File("in.csv")});
  const std::string first = Out({"run", "m", "-"}, "0.1,0.2,0.3\n");
  Out({"stream", "m/s", "--create"}, "0.1,0.2,0.3\n");
  Out({"state", "m/s", "--h", File("h.npy"), "--c", File("c.npy")});
  EXPECT_EQ(first + Out({"run", "m", "-", "--h", File("h.npy"), "--c", File("c.npy")}, "-1,0,1\n0.5,0.25,0\n"), whole);

  EXPECT_THAT(Error({"run", "m", File("batch.npy"), "--lengths", "3"}), HasSubstr("SEQUENCE_LENGTH"));
  EXPECT_THAT(Error({"run", "wide", File("in.csv")}), HasSubstr("TENSOR_SHAPE"));
  EXPECT_THAT(Error({"run", "m", File("not.npy", "text")}), HasSubstr("not a .npy file"));
}

TEST_F(LstmctlFilesTest, LargeBatchesRunInParts) {
  StartCpu();
  client::Array batch{{700, 600, 3}, {}};  // 5 MB
  batch.values.resize(700 * 600 * 3);
  for (size_t i = 0; i < batch.values.size(); ++i) batch.values[i] = static_cast<float>((i * 37) % 101) / 101;
  ASSERT_TRUE(client::WriteNpy(File("large.npy"), batch).ok());
  Out({"run", "m", File("large.npy"), "--outputs", "last", "--out", File("out.npy")});
  const absl::StatusOr<client::Array> out = client::ReadNpy(File("out.npy"));
  ASSERT_TRUE(out.ok()) << out.status();
  ASSERT_THAT(out->shape, ElementsAre(700, 2));
  // The last row alone.
  client::Array row{{600, 3}, {batch.values.end() - 1800, batch.values.end()}};
  ASSERT_TRUE(client::WriteNpy(File("row.npy"), row).ok());
  Out({"run", "m", File("row.npy"), "--outputs", "last", "--out", File("one.npy")});
  EXPECT_THAT(client::ReadNpy(File("one.npy"))->values, ElementsAre(out->values[1398], out->values[1399]));
}

TEST_F(LstmctlFilesTest, OtherFormatsGoThroughTheConverter) {
  const std::string cases = std::string(SOURCE_FOLDER) + "/tests/parity/cases/";
  const nlohmann::json torch =
      Json({"import", cases + "torch_lstm_1layer/model.pt", "--name", "t", "--repository", File("models")});
  EXPECT_EQ(torch["parameters"], 44400);
  EXPECT_EQ(torch["notes"], "");
  const nlohmann::json onnx =
      Json({"import", cases + "onnx_reverse/model.onnx", "--name", "o", "--repository", File("models")});
  EXPECT_EQ(onnx["spec"]["direction"], "DIRECTION_REVERSE");
  EXPECT_TRUE(fs::exists(File("models/o/1/model.onnx")));

  const std::string refused =
      Error({"import", File("x.pt", "no checkpoint"), "--name", "b", "--repository", File("r")});
  EXPECT_THAT(refused, HasSubstr("the converter refuses " + File("x.pt") + ": not a torch.save file"));
  EXPECT_FALSE(fs::exists(File("r")));
}

TEST_F(LstmctlFilesTest, ImportLoadAndTheExample) {
  const std::string sample = std::string(SOURCE_FOLDER) + "/deploy/models/sunspots/1";
  const std::string repository = File("models");
  const std::vector<std::string> import = {
      "import",  sample + "/model.safetensors", "--spec", sample + "/lstm.json", "--name", "sunspots", "--repository",
      repository};
  const auto With = [&](std::vector<std::string> more) {
    more.insert(more.begin(), import.begin(), import.end());
    return more;
  };
  const nlohmann::json one = Json(import);
  EXPECT_EQ(one["version"], 1);
  EXPECT_EQ(one["spec"]["hidden_size"], 64);
  EXPECT_EQ(Json(import)["version"], 2) << "the next one";
  EXPECT_THAT(Error(With({"--version", "2"})), HasSubstr("exists; --force replaces it"));
  EXPECT_EQ(Json(With({"--version", "2", "--force"}))["path"], repository + "/sunspots/2");
  EXPECT_EQ(Json(With({"--version", "9"}))["version"], 9);

  // What is refused leaves nothing behind.
  const std::string broken = File("broken.safetensors", "\x10\0\0\0\0\0\0\0{");
  EXPECT_THAT(Error({"import", broken, "--name", "b", "--repository", repository}), HasSubstr("MODEL_FILE"));
  EXPECT_THAT(Error({"import", File("none.onnx"), "--name", "b", "--repository", repository}),
              HasSubstr("cannot read"));
  EXPECT_THAT(Error({"import", broken, "--name", "../b", "--repository", repository}), HasSubstr("no model name"));
  EXPECT_THAT(Error(With({"--", "--layer", "rnn"})), HasSubstr("needs no converter"));
  EXPECT_FALSE(fs::exists(repository + "/b"));
  size_t entries = 0;
  for ([[maybe_unused]] const auto& entry : fs::directory_iterator(repository + "/sunspots")) ++entries;
  EXPECT_EQ(entries, 3u) << "versions 1, 2 and 9, and no leftovers";

  // A server on what was imported.
  options_.engine.repository = repository;
  StartCpu();
  EXPECT_THAT(Out({"models"}), HasSubstr("AVAILABLE"));
  EXPECT_EQ(Json({"load", "sunspots", "--version", "2"})["state"], "READY");
  EXPECT_THAT(Error({"load", "sunspots", "--version", "2"}), HasSubstr("MODEL_EXISTS"));
  EXPECT_THAT(Out({"load", "sunspots"}), HasSubstr("sunspots version 9 is READY"));

  const ProcessResult example =
      RunProcess({STREAM_SUNSPOTS, address_, std::string(SOURCE_FOLDER) + "/deploy/sample/sunspots.csv"}, folder_);
  EXPECT_EQ(example.exit_status, 0) << example.err;
  EXPECT_THAT(example.out, AllOf(HasSubstr("1749-02  forecast"), HasSubstr("mean absolute error over")));
  EXPECT_EQ(Json({"info"})["sessions"], 0);
  const ProcessResult wrong = RunProcess({STREAM_SUNSPOTS, address_}, folder_);
  EXPECT_EQ(wrong.exit_status, 1);
  EXPECT_THAT(wrong.err, HasSubstr("usage"));
}

}  // namespace
}  // namespace lstmd
