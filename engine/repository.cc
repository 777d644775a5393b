// SPDX-License-Identifier: Apache-2.0
#include "engine/repository.h"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <system_error>
#include <tuple>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "engine/checkpoint/layouts.h"
#include "engine/checkpoint/mapped_file.h"
#include "engine/checkpoint/onnx.h"
#include "engine/checkpoint/safetensors.h"
#include "engine/engine.h"
#include "engine/errors.h"
#include "engine/names.h"
#include "engine/spec_draft.h"

namespace lstmd {
namespace {

namespace fs = std::filesystem;

constexpr char kSafetensors[] = "model.safetensors";
constexpr char kOnnx[] = "model.onnx";
constexpr char kSpec[] = "lstm.json";

// A positive integer in its only spelling, so that no two folders are one version.
std::optional<int64_t> ParseVersion(const std::string& name) {
  int64_t version = 0;
  if (!absl::SimpleAtoi(name, &version) || version <= 0 || absl::StrCat(version) != name) return std::nullopt;
  return version;
}

bool IsWithin(const fs::path& path, const fs::path& root) {
  return std::mismatch(root.begin(), root.end(), path.begin(), path.end()).first == root.end();
}

// `path` with all links followed, if that is a folder at or below `root`.
std::optional<fs::path> FolderWithin(const fs::path& path, const fs::path& root) {
  std::error_code error;
  const fs::path real = fs::canonical(path, error);
  if (error || !IsWithin(real, root) || !fs::is_directory(real, error)) return std::nullopt;
  return real;
}

absl::StatusOr<fs::path> Root(const std::string& root) {
  std::error_code error;
  const fs::path real = fs::canonical(root, error);
  if (!error && fs::is_directory(real, error)) return real;
  return NotFound("REPOSITORY", absl::StrCat("repository '", root, "' is no folder"));
}

// Names in a folder, in no order. Unreadable folders have none.
std::vector<std::string> Entries(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    names.push_back(it->path().filename().string());
  }
  return names;
}

// A folder whose files may be read, as long as they stay below `root` (empty: wherever they lead).
class ModelFolder {
 public:
  ModelFolder(fs::path path, fs::path root) : path_(std::move(path)), root_(std::move(root)) {}

  bool Has(const char* name) const {
    std::error_code error;
    return fs::exists(fs::symlink_status(path_ / name, error));
  }

  // Where to read a file.
  absl::StatusOr<std::string> Resolve(const char* name) const {
    std::error_code error;
    const fs::path real = fs::canonical(path_ / name, error);
    if (error) return InvalidArgument("MODEL_FILE", absl::StrCat(name, ": ", error.message()));
    if (!root_.empty() && !IsWithin(real, root_)) {
      return InvalidArgument("MODEL_FILE", absl::StrCat(name, ": a link that leads out of the repository"));
    }
    return real.string();
  }

  // The file's text, "" if there is none.
  absl::StatusOr<std::string> ReadText(const char* name) const {
    if (!Has(name)) return std::string();
    absl::StatusOr<std::string> path = Resolve(name);
    if (!path.ok()) return path.status();
    absl::StatusOr<std::shared_ptr<const MappedFile>> file = MappedFile::Open(*path);
    if (!file.ok()) return PrefixMessage(file.status(), absl::StrCat(name, ": "));
    constexpr size_t kMaxText = 1 << 20;
    if ((*file)->bytes().size() > kMaxText) {
      return InvalidArgument("MODEL_FILE",
                             absl::StrCat(name, ": got ", (*file)->bytes().size(), " bytes, want at most ", kMaxText));
    }
    return std::string((*file)->bytes());
  }

 private:
  const fs::path path_;
  const fs::path root_;
};

absl::StatusOr<ModelFiles> LoadSafetensors(const std::string& path, std::string spec_json) {
  absl::StatusOr<TensorFile> file = ReadSafetensors(path);
  if (!file.ok()) return PrefixMessage(file.status(), absl::StrCat(kSafetensors, ": "));
  LayoutOptions options;
  options.spec_json = std::move(spec_json);
  absl::StatusOr<ModelFiles> model = AssembleModel(*file, options);
  if (!model.ok()) return PrefixMessage(model.status(), absl::StrCat(kSafetensors, ": "));
  return model;
}

// A graph says nearly everything; lstm.json may add to it (precision) or change it.
absl::StatusOr<ModelFiles> Override(ModelFiles model, const std::string& spec_json) {
  if (spec_json.empty()) return model;
  SpecDraft draft;
  draft.spec = model.spec;
  draft.reverse_activations_given = model.spec.direction == Direction::kBidirectional;
  absl::Status status = ReadSpecJson(spec_json, &draft);
  if (!status.ok()) return status;
  absl::StatusOr<ModelSpec> spec = Finish(draft);
  if (!spec.ok()) return spec.status();
  status = Validate(*spec, model.weights);
  if (!status.ok()) return status;
  model.spec = *spec;
  return model;
}

absl::StatusOr<ModelFiles> LoadOnnx(const std::string& path, const std::string& spec_json) {
  absl::StatusOr<ModelFiles> model = ReadOnnx(path);
  if (model.ok()) model = Override(*std::move(model), spec_json);
  if (!model.ok()) return PrefixMessage(model.status(), absl::StrCat(kOnnx, ": "));
  return model;
}

absl::StatusOr<ModelFiles> Load(const ModelFolder& folder) {
  const bool safetensors = folder.Has(kSafetensors);
  if (safetensors == folder.Has(kOnnx)) {
    return InvalidArgument("MODEL_FILE", absl::StrCat("got ", safetensors ? "both " : "neither ", kSafetensors,
                                                      safetensors ? " and " : " nor ", kOnnx, ", want one"));
  }
  absl::StatusOr<std::string> spec_json = folder.ReadText(kSpec);
  if (!spec_json.ok()) return spec_json.status();
  if (!spec_json->empty()) {
    SpecDraft draft;
    absl::Status status = ReadSpecJson(*spec_json, &draft);
    if (!status.ok()) return PrefixMessage(status, absl::StrCat(kSpec, ": "));
  }
  absl::StatusOr<std::string> path = folder.Resolve(safetensors ? kSafetensors : kOnnx);
  if (!path.ok()) return path.status();
  return safetensors ? LoadSafetensors(*path, *std::move(spec_json)) : LoadOnnx(*path, *spec_json);
}

}  // namespace

absl::StatusOr<std::vector<RepositoryEntry>> ListRepository(const std::string& root) {
  const absl::StatusOr<fs::path> real_root = Root(root);
  if (!real_root.ok()) return real_root.status();
  std::vector<RepositoryEntry> entries;
  for (const std::string& name : Entries(*real_root)) {
    const std::optional<fs::path> model =
        IsValidModelName(name) ? FolderWithin(*real_root / name, *real_root) : std::nullopt;
    if (!model) continue;
    for (const std::string& folder : Entries(*model)) {
      const std::optional<int64_t> version = ParseVersion(folder);
      if (version && FolderWithin(*model / folder, *real_root)) entries.push_back({name, *version});
    }
  }
  std::sort(entries.begin(), entries.end(), [](const RepositoryEntry& a, const RepositoryEntry& b) {
    return std::tie(a.name, a.version) < std::tie(b.name, b.version);
  });
  return entries;
}

std::string EntryFingerprint(const std::string& root, std::string_view name, int64_t version) {
  const absl::StatusOr<fs::path> real_root = Root(root);
  if (!real_root.ok() || !IsValidModelName(name) || version <= 0) return "";
  const std::optional<fs::path> folder =
      FolderWithin(*real_root / std::string(name) / std::to_string(version), *real_root);
  if (!folder) return "";
  std::vector<std::string> files = Entries(*folder);
  std::sort(files.begin(), files.end());
  std::string fingerprint = folder->string();
  for (const std::string& file : files) {
    std::error_code error;
    const uintmax_t size = fs::file_size(*folder / file, error);
    const fs::file_time_type time = fs::last_write_time(*folder / file, error);
    absl::StrAppend(&fingerprint, "\n", file, " ", size, " ", time.time_since_epoch().count());
  }
  return fingerprint;
}

absl::StatusOr<ModelFiles> LoadEntry(const std::string& root, std::string_view name, int64_t version) {
  const absl::StatusOr<fs::path> real_root = Root(root);
  if (!real_root.ok()) return real_root.status();
  std::optional<fs::path> folder;
  // Names that are none are refused long before; here they would be paths.
  if (IsValidModelName(name) && version > 0) {
    folder = FolderWithin(*real_root / std::string(name) / std::to_string(version), *real_root);
  }
  if (!folder) {
    return NotFound("MODEL_NOT_FOUND",
                    absl::StrCat("the repository has no version ", version, " of ", ModelResource(name)))
        .Resource(ModelResource(name));
  }
  return Load(ModelFolder(*folder, *real_root));
}

absl::StatusOr<ModelFiles> LoadModelFolder(const std::string& path) {
  std::error_code error;
  if (!fs::is_directory(path, error)) {
    return NotFound("MODEL_NOT_FOUND", absl::StrCat("'", path, "' is no folder"));
  }
  return Load(ModelFolder(path, fs::path()));
}

}  // namespace lstmd
