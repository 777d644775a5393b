// SPDX-License-Identifier: Apache-2.0
#include "engine/weights.h"

#include <algorithm>
#include <array>
#include <memory>
#include <string_view>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "engine/errors.h"
#include "engine/parallel_for.h"
#include "openssl/evp.h"

namespace lstmd {
namespace {

struct NamedArray {
  std::string name;
  const FloatArray* array;
  uint64_t want;
  std::string shape;
};

std::string Shape(std::initializer_list<uint64_t> sizes) {
  std::string text;
  for (uint64_t size : sizes) absl::StrAppend(&text, text.empty() ? "" : ", ", size);
  return absl::StrCat("[", text, "]");
}

// Every array there can be, with its size by the spec: 0 where the spec has none. In a fixed order: Fingerprint hashes
// in it.
std::vector<NamedArray> Arrays(const ModelSpec& spec, const Weights& weights) {
  std::vector<NamedArray> arrays;
  const auto add = [&](std::string name, const FloatArray& array, bool wanted, uint64_t rows, uint64_t columns = 0) {
    arrays.push_back({std::move(name), &array, wanted ? rows * (columns == 0 ? 1 : columns) : 0,
                      columns == 0 ? Shape({rows}) : Shape({rows, columns})});
  };
  const uint64_t hidden = spec.hidden_size;
  const uint64_t state = spec.hidden_state_size();
  for (uint32_t k = 0; k < weights.cells.size(); ++k) {
    const CellWeights& cell = weights.cells[k];
    const std::string name = absl::StrCat("cells.", k, ".");
    add(name + "w", cell.w, true, 4 * hidden, spec.layer_input_size(k / spec.directions()));
    add(name + "r", cell.r, true, 4 * hidden, state);
    add(name + "bias", cell.bias, spec.bias, 4 * hidden);
    add(name + "projection", cell.projection, spec.projection_size != 0, state, hidden);
    add(name + "peepholes", cell.peepholes, spec.peepholes, 3 * hidden);
  }
  const uint64_t outputs = spec.head ? spec.head->output_size : 0;
  add("head.weight", weights.head_weight, spec.head.has_value(), outputs, spec.layer_output_size());
  add("head.bias", weights.head_bias, spec.head && spec.head->bias, outputs);
  add("h0", weights.initial_h, spec.learned_initial_state, spec.cells(), state);
  add("c0", weights.initial_c, spec.learned_initial_state, spec.cells(), hidden);
  return arrays;
}

using Digest = std::array<unsigned char, 32>;

class Sha256 {
 public:
  Sha256() : context_(EVP_MD_CTX_new()) { EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr); }
  void Add(const void* data, size_t size) { EVP_DigestUpdate(context_.get(), data, size); }
  // Ends the hash.
  Digest Finish() {
    Digest digest;
    EVP_DigestFinal_ex(context_.get(), digest.data(), nullptr);
    return digest;
  }

 private:
  struct Free {
    void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
  };
  std::unique_ptr<EVP_MD_CTX, Free> context_;
};

// A piece of an array, hashed by itself.
struct Piece {
  const float* data;
  size_t size;
};

// Large enough that the digests cost nothing, small enough that one array keeps all cores busy.
constexpr size_t kPieceFloats = 4 << 20;

// Hashing is most of the time that a large model takes to load, and pieces do not wait for each other.
std::vector<Digest> HashPieces(const std::vector<Piece>& pieces) {
  std::vector<Digest> digests(pieces.size());
  ParallelFor(pieces.size(), [&](size_t i) {
    Sha256 hash;
    hash.Add(pieces[i].data, pieces[i].size * sizeof(float));
    digests[i] = hash.Finish();
  });
  return digests;
}

}  // namespace

absl::Status Validate(const ModelSpec& spec, const Weights& weights) {
  if (weights.cells.size() != spec.cells()) {
    return InvalidArgument("MODEL_WEIGHTS", absl::StrCat("cells: got ", weights.cells.size(), ", want ", spec.cells(),
                                                         " (layers times directions)"));
  }
  for (const NamedArray& array : Arrays(spec, weights)) {
    if (array.array->size() == array.want) continue;
    if (array.want == 0) {
      return InvalidArgument("MODEL_WEIGHTS", absl::StrCat(array.name, ": got ", array.array->size(),
                                                           " values, but the spec has no such array"));
    }
    return InvalidArgument("MODEL_WEIGHTS", absl::StrCat(array.name, ": got ", array.array->size(), " values, want ",
                                                         array.want, " for shape ", array.shape));
  }
  return absl::OkStatus();
}

uint64_t ParameterCount(const Weights& weights) {
  uint64_t count =
      weights.head_weight.size() + weights.head_bias.size() + weights.initial_h.size() + weights.initial_c.size();
  for (const CellWeights& cell : weights.cells) {
    count += cell.w.size() + cell.r.size() + cell.bias.size() + cell.projection.size() + cell.peepholes.size();
  }
  return count;
}

std::string Fingerprint(const ModelSpec& spec, const Weights& weights) {
  const std::vector<NamedArray> arrays = Arrays(spec, weights);
  Sha256 hash;
  // Sizes first, so that nothing can move from one array to its neighbour.
  const auto add = [&hash](std::string_view text) {
    const uint64_t size = text.size();
    hash.Add(&size, sizeof size);
    hash.Add(text.data(), text.size());
  };
  add(SpecToJson(spec));
  std::vector<Piece> small, large;
  for (const NamedArray& array : arrays) {
    const size_t size = array.array->size();
    add(absl::StrCat(array.name, " ", size));
    for (size_t begin = 0; begin < size; begin += kPieceFloats) {
      const Piece piece{array.array->data() + begin, std::min(kPieceFloats, size - begin)};
      (piece.size == kPieceFloats ? large : small).push_back(piece);
    }
  }
  for (const Piece& piece : small) hash.Add(piece.data, piece.size * sizeof(float));
  for (const Digest& digest : HashPieces(large)) hash.Add(digest.data(), digest.size());
  const Digest digest = hash.Finish();
  return absl::BytesToHexString(absl::string_view(reinterpret_cast<const char*>(digest.data()), digest.size()));
}

}  // namespace lstmd
