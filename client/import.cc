// SPDX-License-Identifier: Apache-2.0
#include "client/import.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/cord.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "engine/checkpoint/layouts.h"
#include "engine/checkpoint/onnx.h"
#include "engine/engine.h"
#include "engine/errors.h"
#include "engine/repository.h"
#include "google/rpc/error_details.pb.h"

extern "C" char** environ;

namespace lstmd::client {
namespace {

namespace fs = std::filesystem;

absl::Status System(absl::string_view what, const std::string& path, int error) {
  const std::string message = absl::StrCat("cannot ", what, " ", path, ": ", std::strerror(error));
  if (error == ENOENT) return absl::NotFoundError(message);
  if (error == EACCES || error == EPERM || error == EROFS) return absl::PermissionDeniedError(message);
  return absl::UnknownError(message);
}

// The engine's error in the client's form, so that reason and field are shown as those of a server are.
absl::Status FromEngine(const absl::Status& status, const std::string& file) {
  if (status.ok()) return status;
  const ErrorCause cause = GetCause(status);
  absl::Status result(status.code(), absl::StrCat(file, ": ", status.message()));
  google::rpc::ErrorInfo info;
  info.set_reason(cause.reason);
  info.set_domain("lstmd");
  for (const auto& [key, value] : cause.metadata) (*info.mutable_metadata())[key] = value;
  result.SetPayload("type.googleapis.com/google.rpc.ErrorInfo", absl::Cord(info.SerializeAsString()));
  if (!cause.field.empty()) {
    google::rpc::BadRequest bad;
    bad.add_field_violations()->set_field(cause.field);
    result.SetPayload("type.googleapis.com/google.rpc.BadRequest", absl::Cord(bad.SerializeAsString()));
  }
  return result;
}

// A folder that is removed again unless it was moved away.
class Staging {
 public:
  static absl::StatusOr<Staging> Make(const std::string& parent) {
    std::string path = parent + "/.import-XXXXXX";  // no version number: servers pass over it
    if (mkdtemp(path.data()) == nullptr) return System("make a folder in", parent, errno);
    Staging staging;
    staging.path_ = path;
    if (chmod(path.c_str(), 0755) != 0) return System("open up", path, errno);
    return staging;
  }
  Staging() = default;
  Staging(Staging&& other) noexcept : path_(std::exchange(other.path_, "")) {}
  Staging& operator=(Staging&& other) noexcept {
    std::swap(path_, other.path_);
    return *this;
  }
  ~Staging() {
    std::error_code ignored;
    if (!path_.empty()) fs::remove_all(path_, ignored);
  }
  const std::string& path() const { return path_; }
  // The folder has moved: nothing is left to remove.
  void Release() { path_.clear(); }

 private:
  std::string path_;
};

absl::Status Copy(const std::string& from, const std::string& to) {
  std::error_code error;
  if (fs::is_directory(from, error)) return absl::InvalidArgumentError(absl::StrCat(from, " is a folder"));
  fs::copy_file(from, to, error);
  return error ? System("copy", from, error.value()) : absl::OkStatus();
}

// On disk before it has its name.
absl::Status Sync(const std::string& path) {
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return System("open", path, errno);
  const int result = fsync(file);
  const int error = errno;
  close(file);
  return result == 0 ? absl::OkStatus() : System("sync", path, error);
}

// The converter package beside this program, as it lies in the sources and where it is installed; "" when neither.
std::string ConverterFolder() {
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error).parent_path();
  for (const char* const near : {"../../../client/python", "../share/lstmd/python"}) {
    if (fs::exists(program / near / "lstmd_convert" / "__main__.py", error)) {
      return fs::weakly_canonical(program / near, error).string();
    }
  }
  return "";
}

// Runs `arguments`, argv[0] found in PATH, and returns what it wrote to standard error; its standard output is dropped.
// `exit_status` as of a shell.
absl::StatusOr<std::string> Capture(const std::vector<std::string>& arguments,
                                    const std::vector<std::string>& variables, int* exit_status) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return System("make", "a pipe", errno);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDERR_FILENO);
  std::vector<char*> argv;
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  std::vector<char*> envp;
  for (const std::string& variable : variables) envp.push_back(const_cast<char*>(variable.c_str()));
  envp.push_back(nullptr);
  pid_t child = 0;
  const int failed = posix_spawnp(&child, argv[0], &actions, nullptr, argv.data(), envp.data());
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  std::string output;
  char buffer[4096];
  for (ssize_t got; failed == 0 && (got = read(ends[0], buffer, sizeof(buffer))) != 0;) {
    if (got > 0) output.append(buffer, static_cast<size_t>(got));
    if (got < 0 && errno != EINTR) break;
  }
  close(ends[0]);
  if (failed != 0) return System("run", arguments[0], failed);
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  *exit_status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return output;
}

// `file` -> `target` by the Python package; returns its notes.
absl::StatusOr<std::string> Convert(const ImportOptions& options, const std::string& target) {
  std::vector<std::string> arguments = {"python3", "-m", "lstmd_convert", options.file, target};
  if (!options.spec.empty()) arguments.insert(arguments.end(), {"--spec", options.spec});
  arguments.insert(arguments.end(), options.converter_arguments.begin(), options.converter_arguments.end());
  std::vector<std::string> variables;
  std::string python_path = ConverterFolder();
  for (char** variable = environ; *variable != nullptr; ++variable) {
    if (absl::StartsWith(*variable, "PYTHONPATH=")) {
      absl::StrAppend(&python_path, python_path.empty() ? "" : ":", *variable + std::strlen("PYTHONPATH="));
    } else {
      variables.push_back(*variable);
    }
  }
  if (!python_path.empty()) variables.push_back("PYTHONPATH=" + python_path);
  int exit_status = 0;
  absl::StatusOr<std::string> output = Capture(arguments, variables, &exit_status);
  if (!output.ok()) {
    return absl::FailedPreconditionError(
        absl::StrCat(options.file, " is read by a Python program, which needs python3: ", output.status().message()));
  }
  absl::StripTrailingAsciiWhitespace(&*output);
  if (exit_status == 0) return output;
  if (absl::StrContains(*output, "No module named lstmd_convert")) {
    return absl::FailedPreconditionError(
        absl::StrCat(options.file, " is read by the Python package lstmd_convert, which is not installed: ",
                     "pip install the folder client/python of the sources"));
  }
  absl::string_view reason = *output;  // begins with the file
  absl::ConsumePrefix(&reason, "lstmd_convert: error: ");
  return absl::FailedPreconditionError(absl::StrCat("the converter refuses ", reason));
}

// The data files that a .onnx file names, into `folder`, where its copy is.
absl::Status CopyDataFiles(const std::string& file, const std::string& folder) {
  const absl::StatusOr<std::vector<std::string>> names = OnnxDataFiles(file);
  if (!names.ok()) return FromEngine(names.status(), file);
  for (const std::string& name : *names) {
    const absl::Status copied = Copy(fs::path(file).parent_path() / name, absl::StrCat(folder, "/", name));
    if (!copied.ok()) return copied;
  }
  return absl::OkStatus();
}

// One LSTM node of an ONNX graph -> `target`, a safetensors file.
absl::Status Extract(const ImportOptions& options, const std::string& target) {
  const absl::StatusOr<ModelFiles> model = ReadOnnxNode(options.file, options.node);
  if (!model.ok()) return FromEngine(model.status(), options.file);
  return FromEngine(WriteModel(target, *model), target);
}

// Version `version` of `folder`, or with 0 the one after the highest.
int64_t ChooseVersion(const std::string& repository, const std::string& name, int64_t version) {
  if (version > 0) return version;
  int64_t highest = 0;
  const absl::StatusOr<std::vector<RepositoryEntry>> entries = ListRepository(repository);
  if (!entries.ok()) return 1;
  for (const RepositoryEntry& entry : *entries) {
    if (entry.name == name) highest = std::max(highest, entry.version);
  }
  return highest + 1;
}

// One rename: `staging` becomes `target`. What was there before is in `staging` afterwards, to be removed with it.
absl::Status MoveIntoPlace(Staging* staging, const std::string& target, bool force) {
  if (renameat2(AT_FDCWD, staging->path().c_str(), AT_FDCWD, target.c_str(), RENAME_NOREPLACE) == 0) {
    staging->Release();
    return absl::OkStatus();
  }
  if (errno == EEXIST) {
    if (!force) return absl::AlreadyExistsError(absl::StrCat(target, " exists; --force replaces it"));
    if (renameat2(AT_FDCWD, staging->path().c_str(), AT_FDCWD, target.c_str(), RENAME_EXCHANGE) == 0) {
      return absl::OkStatus();
    }
  }
  if (errno != EINVAL && errno != ENOSYS) return System("make", target, errno);
  // A file system without these renames: a plain one, which takes the place of an empty folder only.
  std::error_code error;
  if (fs::exists(target, error)) {
    if (!force) return absl::AlreadyExistsError(absl::StrCat(target, " exists; --force replaces it"));
    fs::remove_all(target, error);
  }
  if (std::rename(staging->path().c_str(), target.c_str()) != 0) return System("make", target, errno);
  staging->Release();
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ImportedModel> ImportModel(const ImportOptions& options) {
  if (!IsValidModelName(options.name)) {
    return absl::InvalidArgumentError(absl::StrCat("--name: '", options.name, "' is no model name; want 1 to 63 of ",
                                                   "A-Z a-z 0-9 . _ -, first a letter or digit"));
  }
  if (options.version < 0) return absl::InvalidArgumentError("--version: want a positive number");
  if (access(options.file.c_str(), R_OK) != 0) return System("read", options.file, errno);
  std::error_code error;
  const std::string folder = absl::StrCat(options.repository, "/", options.name);
  const bool new_repository = !fs::exists(options.repository, error);
  const bool new_folder = !fs::exists(folder, error);
  fs::create_directories(folder, error);
  if (error) return System("make", folder, error.value());

  ImportedModel imported;
  imported.version = ChooseVersion(options.repository, options.name, options.version);
  imported.path = absl::StrCat(folder, "/", imported.version);
  const absl::Status status = [&]() -> absl::Status {
    if (!options.force && fs::exists(imported.path, error)) {
      return absl::AlreadyExistsError(absl::StrCat(imported.path, " exists; --force replaces it"));
    }
    absl::StatusOr<Staging> staging = Staging::Make(folder);
    if (!staging.ok()) return staging.status();
    const std::string extension = absl::AsciiStrToLower(fs::path(options.file).extension().string());
    const bool native = extension == ".safetensors" || extension == ".onnx";
    const bool whole_graph = extension == ".onnx" && options.node.empty();
    const std::string target = staging->path() + (whole_graph ? "/model.onnx" : "/model.safetensors");
    if (!options.node.empty() && extension != ".onnx") {
      return absl::InvalidArgumentError(absl::StrCat("--node: ", options.file, " is no .onnx file"));
    }
    if (native) {
      if (!options.converter_arguments.empty()) {
        return absl::InvalidArgumentError(
            absl::StrCat(options.file, " needs no converter, and so no arguments for it"));
      }
      absl::Status copied = options.node.empty() ? Copy(options.file, target) : Extract(options, target);
      if (copied.ok() && whole_graph) copied = CopyDataFiles(options.file, staging->path());
      if (copied.ok() && !options.spec.empty()) copied = Copy(options.spec, staging->path() + "/lstm.json");
      if (!copied.ok()) return copied;
    } else {
      absl::StatusOr<std::string> notes = Convert(options, target);
      if (!notes.ok()) return notes.status();
      imported.notes = *std::move(notes);
    }
    absl::StatusOr<ModelFiles> model = LoadModelFolder(staging->path());
    if (!model.ok()) return FromEngine(model.status(), options.file);
    imported.spec_json = SpecToJson(model->spec);
    imported.weights_sha256 = Fingerprint(model->spec, model->weights);
    imported.parameters = ParameterCount(model->weights);
    absl::Status synced = Sync(target);
    if (synced.ok()) synced = Sync(staging->path());
    if (!synced.ok()) return synced;
    return MoveIntoPlace(&*staging, imported.path, options.force);
  }();
  if (status.ok()) return imported;
  // rmdir takes empty folders only: none that others have put something into meanwhile.
  if (new_folder) rmdir(folder.c_str());
  if (new_repository) rmdir(options.repository.c_str());
  return status;
}

}  // namespace lstmd::client
