// SPDX-License-Identifier: Apache-2.0
//
// lstmd_parity DIR: every recorded case in a folder, served by a real server, against what the framework computed.
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <filesystem>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/checkpoint/layouts.h"
#include "engine/cpu/cpu_backend.h"
#include "grpcpp/create_channel.h"
#include "tests/parity/case_model.h"
#include "tests/parity/case_run.h"
#include "tests/parity/compare.h"
#include "tests/parity/import_options.h"
#include "tests/parity/server_process.h"

namespace lstmd::parity {
namespace {

constexpr float kPerturbation = 1.01f;

struct Flags {
  std::string folder;
  std::string server, repository;
  std::string device;
  std::string lstmd, lstmctl;
  std::string source = "canonical", via = "sequence";
  std::string precision = "f32", instruction_set;
  bool perturb = false, sweep = false;
  std::vector<std::string> only;
};

// What a model of reduced precision may be off from what the framework computed in full, absolute and relative.
struct PrecisionRow {
  const char* name;
  Precision precision;
  double tolerance;  // 0: the case's own
};
constexpr PrecisionRow kPrecisions[] = {{"f32", Precision::kF32, 0},
                                        {"bf16_weights", Precision::kBf16Weights, 0.02},
                                        {"int8_weights", Precision::kInt8Weights, 0.05},
                                        {"bf16", Precision::kBf16, 0.03},
                                        {"f16", Precision::kF16, 0.01}};

const PrecisionRow& RowOf(const std::string& precision) {
  return *std::find_if(std::begin(kPrecisions), std::end(kPrecisions),
                       [&](const PrecisionRow& row) { return precision == row.name; });
}

// Of one case, or of one checkpoint of it.
struct Outcome {
  enum Kind { kPassed, kFailed, kSkipped } kind = kPassed;
  std::string detail;
  Comparison comparison;
};

Outcome Failed(std::string detail) { return {Outcome::kFailed, std::move(detail), {}}; }
Outcome Failed(const absl::Status& status) { return Failed(std::string(status.message())); }
Outcome Skipped(std::string detail) { return {Outcome::kSkipped, std::move(detail), {}}; }

class Parity {
 public:
  explicit Parity(Flags flags) : flags_(std::move(flags)) {}

  // Exit status of the program.
  int Run();

 private:
  absl::Status Start();
  void Report(const std::string& label, const Outcome& outcome);
  void RunCase(const std::string& folder);
  Outcome RunModel(const Case& c, const std::string& model);
  Outcome RunPerturbed(const Case& c);
  absl::StatusOr<std::vector<Answer>> Answers(const Case& c, const std::string& model);
  absl::StatusOr<std::string> WriteEntry(const Case& c, float scale);
  absl::StatusOr<std::string> ImportEntry(const Case& c, const std::string& file);
  std::string NewModel() { return absl::StrCat("parity-", getpid(), "-", ++models_); }

  const Flags flags_;
  std::unique_ptr<TemporaryFolder> temporary_;
  std::unique_ptr<ServerProcess> process_;
  std::unique_ptr<Runner> runner_;
  std::string repository_;
  int models_ = 0, passed_ = 0, failed_ = 0, skipped_ = 0;
  double worst_ = 0, squares_ = 0;  // largest absolute error, and the sum of mean squares of the cases that passed
  std::string worst_label_;
};

absl::Status Parity::Start() {
  absl::StatusOr<std::unique_ptr<TemporaryFolder>> temporary = TemporaryFolder::Create();
  if (!temporary.ok()) return temporary.status();
  temporary_ = *std::move(temporary);
  std::string address = flags_.server;
  repository_ = flags_.repository;
  if (address.empty()) {
    repository_ = temporary_->path() + "/models";
    std::filesystem::create_directory(repository_);
    const std::string device = flags_.device.empty() ? "cpu" : flags_.device;
    absl::StatusOr<std::unique_ptr<ServerProcess>> process =
        ServerProcess::Start(flags_.lstmd, repository_, device, flags_.instruction_set, temporary_->path());
    if (!process.ok()) return process.status();
    process_ = *std::move(process);
    address = process_->address();
  }
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  const std::shared_ptr<grpc::Channel> channel =
      grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
  for (int second = 0; second < 60; ++second) {
    if (channel->WaitForConnected(std::chrono::system_clock::now() + std::chrono::seconds(1))) {
      runner_ = std::make_unique<Runner>(channel);
      return absl::OkStatus();
    }
    if (process_ && !process_->Running()) {
      return absl::UnavailableError(absl::StrCat(flags_.lstmd, " ended at once:\n", process_->Log()));
    }
  }
  return absl::UnavailableError(absl::StrCat("no server answers at ", address));
}

// Writes a repository entry with the case's weights in canonical form; returns its name.
absl::StatusOr<std::string> Parity::WriteEntry(const Case& c, float scale) {
  absl::StatusOr<ModelFiles> model = BuildModel(c, scale);
  if (!model.ok()) return model.status();
  model->spec.precision = RowOf(flags_.precision).precision;
  const std::string name = NewModel();
  const std::string folder = absl::StrCat(repository_, "/", name, "/1");
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) return absl::UnavailableError(absl::StrCat("cannot make ", folder, ": ", error.message()));
  if (absl::Status status = WriteModel(folder + "/model.safetensors", *model); !status.ok()) return status;
  return name;
}

absl::StatusOr<std::string> Parity::ImportEntry(const Case& c, const std::string& file) {
  const std::string name = NewModel();
  std::vector<std::string> command = {flags_.lstmctl, "import",   absl::StrCat(c.folder, "/", file), "--name", name,
                                      "--repository", repository_};
  const std::vector<std::string> options = ImportOptions(c, file);
  if (!options.empty()) command.push_back("--");
  command.insert(command.end(), options.begin(), options.end());
  absl::StatusOr<ProcessResult> result = RunProcess(command, temporary_->path());
  if (!result.ok()) return result.status();
  if (result->exit_code != 0) {
    return absl::InternalError(absl::StrCat("lstmctl import ends with ", result->exit_code, ": ", result->output));
  }
  return name;
}

absl::StatusOr<std::vector<Answer>> Parity::Answers(const Case& c, const std::string& model) {
  if (absl::Status status = runner_->LoadModel(model, flags_.device); !status.ok()) return status;
  absl::StatusOr<std::vector<Answer>> answers = runner_->RunSequences(c, model);
  const bool steps = flags_.sweep ? WhyNotSteps(c).empty() : flags_.via == "step";
  if (answers.ok() && steps) answers = runner_->RunSteps(c, model, *answers);
  runner_->UnloadModel(model);
  return answers;
}

Outcome Parity::RunModel(const Case& c, const std::string& model) {
  absl::StatusOr<std::vector<Answer>> answers = Answers(c, model);
  if (absl::IsUnimplemented(answers.status()) && !flags_.device.empty() && flags_.device != "cpu") {
    return Skipped(absl::StrCat("refused: ", absl::string_view(answers.status().message())));
  }
  if (!answers.ok()) return Failed(answers.status());
  absl::StatusOr<std::map<std::string, Bytes>> results = Arrange(c, *answers);
  if (!results.ok()) return Failed(results.status());
  absl::StatusOr<Comparison> comparison = Compare(c, *results);
  if (!comparison.ok()) return Failed(comparison.status());
  return {comparison->mistake.empty() ? Outcome::kPassed : Outcome::kFailed, comparison->mistake, *comparison};
}

// With larger weights: passes where the comparison fails, as it must.
Outcome Parity::RunPerturbed(const Case& c) {
  absl::StatusOr<std::string> plain = WriteEntry(c, 1.0f);
  absl::StatusOr<std::string> scaled = WriteEntry(c, kPerturbation);
  if (!plain.ok() || !scaled.ok()) return Failed(plain.ok() ? scaled.status() : plain.status());
  const Outcome good = RunModel(c, *plain), bad = RunModel(c, *scaled);
  if (good.kind != Outcome::kPassed) return Failed(absl::StrCat("fails with its own weights: ", good.detail));
  if (bad.kind == Outcome::kFailed && !bad.comparison.mistake.empty()) {
    return {Outcome::kPassed, absl::StrCat("fails as it must: ", bad.detail), bad.comparison};
  }
  if (bad.kind == Outcome::kFailed) return bad;  // not by its numbers
  if (c.dtype == "bfloat16" && bad.comparison.rms > 1.5 * good.comparison.rms) {
    // 1 % is about what bfloat16 rounds away, and less than the tolerance for it.
    return {Outcome::kPassed,
            absl::StrCat("root mean square error ", bad.comparison.rms, " instead of ", good.comparison.rms,
                         ", below the tolerance of bfloat16"),
            bad.comparison};
  }
  absl::StatusOr<std::string> why = WhyInsensitive(c, kPerturbation);
  if (!why.ok()) return Failed(why.status());
  if (!why->empty()) return Skipped(absl::StrCat("cannot fail: ", *why));
  return Failed("does not fail with weights that are 1 % larger");
}

void Parity::Report(const std::string& label, const Outcome& outcome) {
  static constexpr const char* kWords[] = {"ok  ", "FAIL", "skip"};
  ++(outcome.kind == Outcome::kPassed ? passed_ : outcome.kind == Outcome::kFailed ? failed_ : skipped_);
  if (outcome.kind == Outcome::kPassed) {
    squares_ += outcome.comparison.rms * outcome.comparison.rms;
    if (outcome.comparison.absolute > worst_) {
      worst_ = outcome.comparison.absolute;
      worst_label_ = label;
    }
  }
  if (flags_.sweep && outcome.kind != Outcome::kFailed) return;
  std::printf("%s %-62s", kWords[outcome.kind], label.c_str());
  if (outcome.kind != Outcome::kSkipped) {
    std::printf(" abs %.2e rel %.2e", outcome.comparison.absolute, outcome.comparison.relative);
  }
  std::printf("%s%s\n", outcome.detail.empty() ? "" : "  ", outcome.detail.c_str());
  std::fflush(stdout);
}

void Parity::RunCase(const std::string& folder) {
  const std::string name = std::filesystem::path(folder).filename().string();
  absl::StatusOr<Case> read = ReadCase(folder);
  if (!read.ok()) return Report(name, Failed(read.status()));
  read->atol = std::max(read->atol, RowOf(flags_.precision).tolerance);
  read->rtol = std::max(read->rtol, RowOf(flags_.precision).tolerance);
  const Case& c = *read;
  if (const std::string defect = WhyFrameworkDefect(c); !defect.empty()) return Report(name, Skipped(defect));
  if (flags_.precision == "int8_weights") {
    if (const std::string why = WhyNotInt8(c); !why.empty()) return Report(name, Skipped(why));
  }
  if (flags_.via == "step") {
    if (const std::string why = WhyNotSteps(c); !why.empty()) return Report(name, Skipped("cannot step: " + why));
  }
  if (flags_.perturb) return Report(name, RunPerturbed(c));
  if (flags_.source == "canonical") {
    absl::StatusOr<std::string> model = WriteEntry(c, 1.0f);
    return Report(name, model.ok() ? RunModel(c, *model) : Failed(model.status()));
  }
  const std::vector<std::string> checkpoints = Checkpoints(c);
  if (checkpoints.empty()) return Report(name, Skipped("has no checkpoint of its framework"));
  for (const std::string& file : checkpoints) {
    absl::StatusOr<std::string> model = ImportEntry(c, file);
    Report(absl::StrCat(name, "/", file), model.ok() ? RunModel(c, *model) : Failed(model.status()));
  }
}

int Parity::Run() {
  std::vector<std::string> folders;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(flags_.folder, error)) {
    const std::string name = entry.path().filename().string();
    const bool wanted = flags_.only.empty() || std::count(flags_.only.begin(), flags_.only.end(), name) != 0;
    if (wanted && std::filesystem::is_regular_file(entry.path() / "case.json"))
      folders.push_back(entry.path().string());
  }
  if (error) std::fprintf(stderr, "lstmd_parity: %s: %s\n", flags_.folder.c_str(), error.message().c_str());
  std::sort(folders.begin(), folders.end());
  if (absl::Status status = folders.empty() ? absl::OkStatus() : Start(); !status.ok()) {
    std::fprintf(stderr, "lstmd_parity: %s\n", std::string(status.message()).c_str());
    return 1;
  }
  for (const std::string& folder : folders) RunCase(folder);
  if (flags_.sweep) std::printf("%-10s %-13s", flags_.instruction_set.c_str(), flags_.precision.c_str());
  std::printf("%d passed, %d failed", passed_, failed_);
  if (skipped_ != 0) std::printf(", %d skipped", skipped_);
  std::printf("; error: root mean square %.1e, largest %.1e (%s)\n", std::sqrt(squares_ / std::max(passed_, 1)), worst_,
              worst_label_.c_str());
  std::fflush(stdout);
  return failed_ != 0 || passed_ == 0 ? 1 : 0;
}

// Each instruction set of the machine in each precision of the CPU, a server for each.
int Sweep(Flags flags) {
  int exit_status = 0;
  for (const std::string& instruction_set : CpuInstructionSets()) {
    for (const PrecisionRow& row : kPrecisions) {
      if (row.precision == Precision::kF16) continue;
      flags.instruction_set = instruction_set;
      flags.precision = row.name;
      exit_status |= Parity(flags).Run();
    }
  }
  return exit_status;
}

}  // namespace
}  // namespace lstmd::parity

int main(int argc, char** argv) {
  lstmd::parity::Flags flags;
  std::error_code error;
  const std::filesystem::path here = std::filesystem::read_symlink("/proc/self/exe", error).parent_path();
  flags.lstmd = (here / "lstmd").string();
  flags.lstmctl = (here / "lstmctl").string();
  CLI::App app("Serves recorded cases of other frameworks and compares the results with theirs.", "lstmd_parity");
  app.add_option("DIR", flags.folder, "Folder of cases (tests/parity/FORMAT.md says what they are)")->required();
  CLI::Option* server = app.add_option("--server", flags.server, "A running server, instead of one of its own");
  app.add_option("--repository", flags.repository, "The running server's repository")->needs(server);
  app.add_option("--device", flags.device, "Where models are loaded, for example cpu or cuda:0");
  app.add_option("--lstmd", flags.lstmd, "The server to start (default: beside this program)");
  app.add_option("--lstmctl", flags.lstmctl, "The client for --source native (default: beside this program)");
  app.add_option("--source", flags.source,
                 "canonical: weights as the case names them; native: the framework's checkpoint")
      ->check(CLI::IsMember({"canonical", "native"}));
  app.add_option("--via", flags.via, "sequence: whole sequences; step: one time step at a time through a session")
      ->check(CLI::IsMember({"sequence", "step"}));
  app.add_option("--precision", flags.precision,
                 "Of the models. Reduced ones may be off by more than the case says; needs --source canonical")
      ->check(CLI::IsMember({"f32", "bf16_weights", "int8_weights", "bf16", "f16"}));
  CLI::Option* set =
      app.add_option("--instruction-set", flags.instruction_set, "Of the server that it starts (lstmd --help)");
  app.add_flag(
         "--sweep", flags.sweep,
         "Every instruction set of this machine's CPU in every precision, by steps where the case can be stepped; "
         "shows what fails and a line for each")
      ->excludes(server)
      ->excludes(set)
      ->excludes("--device");
  app.add_flag("--perturb", flags.perturb, "Multiply every weight by 1.01: then every case must fail");
  app.add_option("--only", flags.only, "Run this case alone (may be repeated)");
  CLI11_PARSE(app, argc, argv);
  if (!flags.server.empty() && flags.repository.empty()) {
    std::fprintf(stderr, "lstmd_parity: --server needs --repository, where models are written for it\n");
    return 1;
  }
  if ((flags.perturb || flags.sweep || flags.precision != "f32") && flags.source == "native") {
    std::fprintf(stderr, "lstmd_parity: --perturb, --sweep and --precision work with --source canonical\n");
    return 1;
  }
  if (flags.sweep) return lstmd::parity::Sweep(std::move(flags));
  return lstmd::parity::Parity(std::move(flags)).Run();
}
