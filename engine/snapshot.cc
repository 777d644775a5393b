// SPDX-License-Identifier: Apache-2.0
#include "engine/snapshot.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/errors.h"
#include "isa-l/crc.h"

namespace lstmd {
namespace {

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "snapshots are little-endian, and so is the host");

constexpr std::string_view kSnapshotMagic = "LSTS";
constexpr std::string_view kReplyMagic = "LSTR";
constexpr uint32_t kFormat = 1;
constexpr size_t kHeader = 12;  // magic, format, checksum
// Seconds of any time and duration that is not infinite; beyond the year 9999 and before the year 1.
constexpr int64_t kMaxSeconds = 400'000'000'000;
constexpr uint32_t kInfinite = UINT32_MAX;

class Writer {
 public:
  explicit Writer(std::string_view magic) {
    bytes_.append(magic);
    Put(kFormat);
    Put(uint32_t{0});
  }

  template <typename T>
  void Put(T number) {
    bytes_.append(reinterpret_cast<const char*>(&number), sizeof number);
  }
  void Put(std::string_view text) {
    Put(static_cast<uint32_t>(text.size()));
    bytes_.append(text);
  }
  void PutFloats(absl::Span<const float> values) {
    bytes_.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
  }
  void Put(const std::vector<float>& values) {
    Put(static_cast<uint32_t>(values.size()));
    PutFloats(values);
  }
  void Put(absl::Duration duration) {
    if (duration == absl::InfiniteDuration() || duration == -absl::InfiniteDuration()) {
      Put(duration > absl::ZeroDuration() ? INT64_MAX : INT64_MIN);
      Put(kInfinite);
      return;
    }
    int64_t seconds = absl::ToInt64Seconds(absl::Floor(duration, absl::Seconds(1)));
    seconds = std::clamp(seconds, -kMaxSeconds, kMaxSeconds);
    const int64_t nanos = absl::ToInt64Nanoseconds(duration - absl::Seconds(seconds));
    Put(seconds);
    Put(static_cast<uint32_t>(std::clamp<int64_t>(nanos, 0, 999'999'999)));
  }
  void Put(absl::Time time) { Put(time - absl::UnixEpoch()); }
  void Put(const Reply& reply) {
    Put(reply.seq);
    Put(static_cast<uint32_t>(reply.output_size));
    Put(static_cast<uint32_t>(reply.h_size));
    Put(reply.values);
  }

  std::string Finish() && {
    const uint32_t checksum = Crc32c(std::string_view(bytes_).substr(kHeader));
    std::memcpy(bytes_.data() + 8, &checksum, sizeof checksum);
    return std::move(bytes_);
  }

 private:
  std::string bytes_;
};

// Takes fields off the front. The first that is not there makes the rest empty, to be asked once at the end.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : left_(bytes) {}

  template <typename T>
  T Number() {
    T number = 0;
    if (Has(sizeof number)) {
      std::memcpy(&number, left_.data(), sizeof number);
      left_.remove_prefix(sizeof number);
    }
    return number;
  }
  std::string String() {
    const uint32_t size = Number<uint32_t>();
    if (!Has(size)) return "";
    std::string text(left_.substr(0, size));
    left_.remove_prefix(size);
    return text;
  }
  std::vector<float> Floats() {
    const uint64_t count = Number<uint32_t>();
    if (!Has(count * sizeof(float))) return {};
    std::vector<float> values(count);
    if (count != 0) std::memcpy(values.data(), left_.data(), count * sizeof(float));
    left_.remove_prefix(count * sizeof(float));
    return values;
  }
  absl::Duration Duration() {
    const auto seconds = Number<int64_t>();
    const auto nanos = Number<uint32_t>();
    if (nanos == kInfinite && seconds == INT64_MAX) return absl::InfiniteDuration();
    if (nanos == kInfinite && seconds == INT64_MIN) return -absl::InfiniteDuration();
    if (nanos > 999'999'999 || seconds > kMaxSeconds || seconds < -kMaxSeconds) Fail();
    return absl::Seconds(seconds) + absl::Nanoseconds(nanos);
  }
  absl::Time Time() { return absl::UnixEpoch() + Duration(); }
  Reply OneReply() {
    Reply reply;
    reply.seq = Number<uint64_t>();
    reply.output_size = Number<uint32_t>();
    reply.h_size = Number<uint32_t>();
    reply.values = Floats();
    if (reply.seq == 0 || reply.output_size + reply.h_size > reply.values.size() ||
        (reply.h_size == 0 && reply.output_size != reply.values.size())) {
      Fail();
    }
    return reply;
  }

  void Fail() { failed_ = true; }
  bool failed() const { return failed_; }
  // Nothing was missing, and nothing is left.
  bool complete() const { return !failed_ && left_.empty(); }

 private:
  bool Has(uint64_t size) {
    if (size > left_.size()) Fail();
    return !failed_;
  }

  std::string_view left_;
  bool failed_ = false;
};

absl::Status FormatError(std::string_view what) {
  return InvalidArgument("SNAPSHOT_FORMAT", absl::StrCat("snapshot: ", std::string(what)));
}

// The fields of `bytes`, whose header is right.
absl::StatusOr<std::string_view> Open(std::string_view magic, std::string_view bytes) {
  if (bytes.size() < kHeader || bytes.substr(0, magic.size()) != magic) {
    return FormatError(absl::StrCat("got ", bytes.size(), " bytes that are none"));
  }
  uint32_t format = 0;
  uint32_t checksum = 0;
  std::memcpy(&format, bytes.data() + 4, sizeof format);
  std::memcpy(&checksum, bytes.data() + 8, sizeof checksum);
  if (format != kFormat) return FormatError(absl::StrCat("got format ", format, ", want ", kFormat));
  if (Crc32c(bytes.substr(kHeader)) != checksum) {
    return absl::Status(Error(absl::StatusCode::kDataLoss, "SNAPSHOT_CHECKSUM",
                              "snapshot: its bytes do not match its checksum, it is damaged"));
  }
  return bytes.substr(kHeader);
}

}  // namespace

std::string_view Name(Durability durability) {
  switch (durability) {
    case Durability::kNone:
      return "none";
    case Durability::kPeriodic:
      return "periodic";
    case Durability::kEveryStep:
      return "every_step";
  }
  return "";
}

uint32_t Crc32c(std::string_view bytes) {
  uint32_t crc = 0xffffffff;
  // The library counts in int and reads only.
  for (size_t at = 0; at < bytes.size();) {
    const size_t size = std::min(bytes.size() - at, size_t{1} << 30);
    auto* const data = reinterpret_cast<unsigned char*>(const_cast<char*>(bytes.data() + at));
    crc = crc32_iscsi(data, static_cast<int>(size), crc);
    at += size;
  }
  return ~crc;
}

absl::Time DueTime(const Snapshot& snapshot) {
  absl::Time due = snapshot.expire_time;
  if (snapshot.idle_ttl > absl::ZeroDuration()) {
    due = std::min(due, std::max(snapshot.create_time, snapshot.last_step_time) + snapshot.idle_ttl);
  }
  return due;
}

std::string EncodeSnapshot(const Snapshot& snapshot) {
  Writer writer(kSnapshotMagic);
  writer.Put(std::string_view(snapshot.model));
  writer.Put(snapshot.model_version);
  writer.Put(std::string_view(snapshot.weights_sha256));
  writer.Put(std::string_view(snapshot.id));
  writer.Put(snapshot.uid[0]);
  writer.Put(snapshot.uid[1]);
  writer.Put(snapshot.epoch);
  writer.Put(snapshot.last_seq);
  writer.Put(snapshot.steps);
  writer.Put(snapshot.create_time);
  writer.Put(snapshot.last_step_time);
  writer.Put(snapshot.idle_ttl);
  writer.Put(snapshot.expire_time);
  writer.Put(static_cast<uint32_t>(snapshot.labels.size()));
  for (const auto& [key, value] : snapshot.labels) {
    writer.Put(std::string_view(key));
    writer.Put(std::string_view(value));
  }
  writer.Put(static_cast<uint8_t>(snapshot.durability));
  writer.Put(static_cast<uint8_t>(snapshot.pinned));
  writer.Put(snapshot.h);
  writer.Put(snapshot.c);
  writer.Put(static_cast<uint32_t>(snapshot.replies.size()));
  for (const Reply& reply : snapshot.replies) writer.Put(reply);
  return std::move(writer).Finish();
}

absl::StatusOr<Snapshot> DecodeSnapshot(std::string_view bytes) {
  const absl::StatusOr<std::string_view> fields = Open(kSnapshotMagic, bytes);
  if (!fields.ok()) return fields.status();
  Reader reader(*fields);
  Snapshot snapshot;
  snapshot.model = reader.String();
  snapshot.model_version = reader.Number<int64_t>();
  snapshot.weights_sha256 = reader.String();
  snapshot.id = reader.String();
  snapshot.uid[0] = reader.Number<uint64_t>();
  snapshot.uid[1] = reader.Number<uint64_t>();
  snapshot.epoch = reader.Number<uint64_t>();
  snapshot.last_seq = reader.Number<uint64_t>();
  snapshot.steps = reader.Number<uint64_t>();
  snapshot.create_time = reader.Time();
  snapshot.last_step_time = reader.Time();
  snapshot.idle_ttl = reader.Duration();
  snapshot.expire_time = reader.Time();
  const auto labels = reader.Number<uint32_t>();
  for (uint32_t i = 0; i < labels && !reader.failed(); ++i) {
    std::string key = reader.String();
    if (!snapshot.labels.empty() && key <= snapshot.labels.rbegin()->first) reader.Fail();
    snapshot.labels.emplace_hint(snapshot.labels.end(), std::move(key), reader.String());
  }
  const auto durability = reader.Number<uint8_t>();
  if (durability > static_cast<uint8_t>(Durability::kEveryStep)) reader.Fail();
  snapshot.durability = static_cast<Durability>(durability);
  const auto pinned = reader.Number<uint8_t>();
  if (pinned > 1) reader.Fail();
  snapshot.pinned = pinned == 1;
  snapshot.h = reader.Floats();
  snapshot.c = reader.Floats();
  const auto replies = reader.Number<uint32_t>();
  for (uint32_t i = 0; i < replies && !reader.failed(); ++i) {
    Reply reply = reader.OneReply();
    if (reply.seq > snapshot.last_seq || (!snapshot.replies.empty() && reply.seq <= snapshot.replies.back().seq)) {
      reader.Fail();
    }
    snapshot.replies.push_back(std::move(reply));
  }
  if (!reader.complete()) return FormatError("its fields contradict each other or its size");
  return snapshot;
}

std::string EncodeReply(const Reply& reply) {
  Writer writer(kReplyMagic);
  writer.Put(reply);
  return std::move(writer).Finish();
}

absl::StatusOr<Reply> DecodeReply(std::string_view bytes) {
  const absl::StatusOr<std::string_view> fields = Open(kReplyMagic, bytes);
  if (!fields.ok()) return fields.status();
  Reader reader(*fields);
  Reply reply = reader.OneReply();
  if (!reader.complete()) return FormatError("the fields of a reply contradict each other or its size");
  return reply;
}

}  // namespace lstmd
