// SPDX-License-Identifier: Apache-2.0
#include "client/lstmctl/top_view.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"
#include "client/lstmctl/command.h"
#include "client/lstmctl/print.h"

namespace lstmd::client {
namespace {

enum class Style { kPlain, kBold, kSoft, kGood, kWarn, kBad, kBar, kHead };

// By Style.
constexpr const char* kEscapes[] = {"",         "\033[1m",    "\033[2m",  "\033[32m",
                                    "\033[33m", "\033[1;31m", "\033[36m", "\033[7m"};

// Characters as people count them: bytes that do not continue one.
size_t Width(absl::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

// The first `width` of them.
absl::string_view Clip(absl::string_view text, size_t width) {
  size_t end = 0;
  while (end < text.size()) {
    if ((text[end] & 0xC0) != 0x80 && width-- == 0) break;
    ++end;
  }
  return text.substr(0, end);
}

// A line in the making: pieces of text, each in a style, cut at the screen's edge.
class Line {
 public:
  explicit Line(const TopView& view) : view_(view) {}

  Line& Add(absl::string_view text, Style style = Style::kPlain) {
    text = Clip(text,
                static_cast<size_t>(std::max(0, view_.columns)) - std::min(width_, static_cast<size_t>(view_.columns)));
    if (text.empty()) return *this;
    const bool escape = view_.color && style != Style::kPlain;
    absl::StrAppend(&text_, escape ? kEscapes[static_cast<int>(style)] : "", text, escape ? "\033[0m" : "");
    width_ += Width(text);
    return *this;
  }
  // Blanks up to a column.
  Line& To(size_t column) { return Add(std::string(column > width_ ? column - width_ : 1, ' ')); }
  Line& Right(absl::string_view text, size_t width, Style style = Style::kPlain) {
    const size_t have = Width(text);
    return Add(std::string(width > have ? width - have : 0, ' ')).Add(text, style);
  }
  Line& Left(absl::string_view text, size_t width, Style style = Style::kPlain) {
    const absl::string_view cut = Clip(text, width);
    return Add(cut, style).Add(std::string(width - Width(cut), ' '));
  }
  const std::string& text() const { return text_; }
  size_t width() const { return width_; }

 private:
  const TopView& view_;
  std::string text_;
  size_t width_ = 0;
};

std::string Sparkline(const std::vector<double>& values, size_t width, bool unicode) {
  constexpr const char* kBlocks[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  constexpr const char* kAscii[] = {"_", ".", ":", "-", "=", "+", "*", "#"};
  double max = 1e-9;
  const size_t first = values.size() > width ? values.size() - width : 0;
  for (size_t i = first; i < values.size(); ++i) max = std::max(max, values[i]);
  std::string text(width - (values.size() - first), ' ');
  for (size_t i = first; i < values.size(); ++i) {
    const auto level = static_cast<size_t>(std::clamp(values[i] / max * 7.999, 0.0, 7.0));
    text += (unicode ? kBlocks : kAscii)[level];
  }
  return text;
}

std::string Bar(double part, size_t width, bool unicode) {
  const auto full = static_cast<size_t>(std::lround(std::clamp(part, 0.0, 1.0) * static_cast<double>(width)));
  std::string text;
  for (size_t i = 0; i < width; ++i) text += i < full ? (unicode ? "█" : "#") : (unicode ? "░" : ".");
  return text;
}

std::string Percent(double part) { return absl::StrFormat("%.0f%%", part * 100); }

absl::Time ToTime(const google::protobuf::Timestamp& time) {
  return absl::FromUnixSeconds(time.seconds()) + absl::Nanoseconds(time.nanos());
}

std::string Age(absl::Duration age) {
  const int64_t seconds = std::max<int64_t>(0, absl::ToInt64Seconds(age));
  if (seconds < 60) return absl::StrCat(seconds, "s");
  if (seconds < 3600) return absl::StrCat(seconds / 60, "m ", seconds % 60, "s");
  if (seconds < 86400) return absl::StrCat(seconds / 3600, "h ", seconds / 60 % 60, "m");
  return absl::StrCat(seconds / 86400, "d ", seconds / 3600 % 24, "h");
}

void AddHead(const v1::ServerStats& stats, const TopView& view, std::vector<std::string>* lines) {
  const bool ready = stats.not_ready().empty();
  Line head(view);
  head.Add(absl::StrCat("lstmd ", stats.version()), Style::kBold).Add(absl::StrCat(" at ", view.server, "   up "));
  head.Add(Age(ToTime(stats.time()) - ToTime(stats.start_time()))).Add("   ");
  head.Add(ready ? "ready" : stats.draining() ? "draining" : "not ready", ready ? Style::kGood : Style::kBad);
  if (view.paused) head.Add("   paused", Style::kWarn);
  const std::string clock = absl::FormatTime("%H:%M:%S", ToTime(stats.time()), absl::LocalTimeZone());
  if (head.width() + clock.size() + 1 < static_cast<size_t>(view.columns)) {
    head.To(static_cast<size_t>(view.columns) - clock.size()).Add(clock, Style::kSoft);
  }
  lines->push_back(head.text());
  for (const v1::DeviceStats& device : stats.devices()) {
    Line line(view);
    line.Add(absl::StrCat(device.name(), ": ", device.description()), Style::kSoft);
    if (!device.healthy()) line.Add("   LOST", Style::kBad);
    lines->push_back(line.text());
  }
  for (const std::string& why : stats.not_ready()) lines->push_back(Line(view).Add(why, Style::kBad).text());
  if (!view.problem.empty()) lines->push_back(Line(view).Add(view.problem, Style::kBad).text());
  lines->push_back("");
}

void AddLoad(const v1::ServerStats& stats, const TopView& view, std::vector<std::string>* lines) {
  const v1::Load& load = stats.recent();
  std::vector<double> rates;
  std::vector<double> latencies;
  for (const v1::StatsPoint& point : stats.history()) {
    rates.push_back(point.load().steps_per_second());
    latencies.push_back(point.load().p99_seconds());
  }
  const double cpus = stats.history().empty() ? 0 : stats.history(stats.history_size() - 1).cpus();
  constexpr size_t kLabel = 10;
  constexpr size_t kNumber = 10;
  constexpr size_t kMiddle = 24;
  const auto spark = static_cast<size_t>(std::clamp(view.columns - 60, 10, 60));
  const auto start = [&](absl::string_view label, const std::string& number) {
    Line line(view);
    line.Left(label, kLabel, Style::kSoft).Right(number, kNumber, Style::kBold).To(kMiddle);
    return line;
  };
  Line rate = start("steps/s", ShortNumber(load.steps_per_second()));
  rate.Add(Sparkline(rates, spark, view.unicode), Style::kBar).Add("  last minute", Style::kSoft);
  lines->push_back(rate.text());
  Line latency = start("p99", ShortTime(load.p99_seconds()));
  latency.Add(Sparkline(latencies, spark, view.unicode), Style::kBar);
  latency.Add(absl::StrCat("  p50 ", ShortTime(load.p50_seconds()), "  p90 ", ShortTime(load.p90_seconds())));
  lines->push_back(latency.text());
  Line busy = start("busy", Percent(load.busy()));
  busy.Add(Bar(load.busy(), spark, view.unicode), load.busy() > 0.9 ? Style::kWarn : Style::kBar);
  busy.Add(absl::StrFormat("  %.1f processors", cpus));
  lines->push_back(busy.text());
  Line parts = start("batch", ShortNumber(load.batch_rows()));
  parts.Add("of a step: ", Style::kSoft);
  parts.Add(absl::StrCat("queue ", ShortTime(load.queue_seconds()), ", compute ", ShortTime(load.compute_seconds()),
                         ", reply ", ShortTime(load.reply_seconds())));
  lines->push_back(parts.text());
  Line sessions = start("sessions", ShortNumber(static_cast<double>(load.sessions())));
  sessions.Add(absl::StrCat("streams ", stats.open_streams(), "   queued ", Thousands(load.queued()), "   memory ",
                            Bytes(stats.process().resident_bytes()), "   failed/s "));
  sessions.Add(ShortNumber(load.failures_per_second()), load.failures_per_second() > 0 ? Style::kBad : Style::kPlain);
  lines->push_back(sessions.text());
  lines->push_back("");
}

struct Column {
  const char* title;
  size_t width;  // of numbers, to the right
};
constexpr Column kColumns[] = {{"SESSIONS", 9}, {"STEPS/S", 10}, {"P50", 9},      {"P99", 9},      {"BATCH", 7},
                               {"QUEUED", 7},   {"BUSY", 6},     {"FAILED/S", 9}, {"WEIGHTS", 11}, {"STATES", 11}};

void AddModels(const v1::ServerStats& stats, const TopView& view, std::vector<std::string>* lines) {
  std::vector<const v1::ModelStats*> models;
  size_t name_width = 5;
  for (const v1::ModelStats& model : stats.models()) {
    models.push_back(&model);
    name_width = std::max(name_width, std::min<size_t>(24, ShortName(model.model().name()).size()));
  }
  // Equal ones stay in the order of their names.
  std::stable_sort(models.begin(), models.end(), [&](const v1::ModelStats* a, const v1::ModelStats* b) {
    switch (view.order) {
      case TopOrder::kRate:
        return a->recent().steps_per_second() > b->recent().steps_per_second();
      case TopOrder::kSessions:
        return a->model().sessions() > b->model().sessions();
      case TopOrder::kLatency:
        return a->recent().p99_seconds() > b->recent().p99_seconds();
      case TopOrder::kName:
        break;
    }
    return false;
  });
  Line head(view);
  head.Left("MODEL", name_width + 1, Style::kHead).Left("VERSION", 8, Style::kHead).Left("STATE", 9, Style::kHead);
  for (const Column& column : kColumns) head.Right(column.title, column.width, Style::kHead);
  lines->push_back(head.text());
  for (const v1::ModelStats* const stat : models) {
    const v1::Model& model = stat->model();
    const v1::Load& load = stat->recent();
    const bool ready = model.state() == v1::Model::READY;
    const bool failed = model.state() == v1::Model::FAILED;
    Line line(view);
    line.Left(ShortName(model.name()), name_width, Style::kBold).Add(" ");
    line.Left(absl::StrCat(model.version(), model.default_version() ? " *" : ""), 8);
    line.Left(absl::AsciiStrToLower(v1::Model::State_Name(model.state())), 9,
              ready    ? Style::kGood
              : failed ? Style::kBad
                       : Style::kWarn);
    if (!ready) {
      lines->push_back(line.Add(model.error()).text());
      continue;
    }
    const std::string cells[] = {ShortNumber(static_cast<double>(model.sessions())),
                                 ShortNumber(load.steps_per_second()),
                                 ShortTime(load.p50_seconds()),
                                 ShortTime(load.p99_seconds()),
                                 ShortNumber(load.batch_rows()),
                                 ShortNumber(static_cast<double>(stat->queued())),
                                 Percent(load.busy()),
                                 ShortNumber(load.failures_per_second()),
                                 Bytes(model.weight_bytes()),
                                 Bytes(stat->state_bytes())};
    for (size_t i = 0; i < std::size(kColumns); ++i) {
      line.Right(cells[i], kColumns[i].width, i == 7 && load.failures_per_second() > 0 ? Style::kBad : Style::kPlain);
    }
    lines->push_back(line.text());
  }
  if (models.empty()) lines->push_back("no model is loaded");
}

void AddFailures(const v1::ServerStats& stats, const TopView& view, std::vector<std::string>* lines) {
  if (stats.failures().empty()) return;
  lines->push_back("");
  Line head(view);
  lines->push_back(head.Left("FAILURES", 25, Style::kHead)
                       .Left("CODE", 22, Style::kHead)
                       .Left("REASON", 26, Style::kHead)
                       .Right("SINCE START", 12, Style::kHead)
                       .text());
  for (int i = 0; i < std::min(8, stats.failures_size()); ++i) {
    const v1::FailureStats& failure = stats.failures(i);
    Line line(view);
    line.Left(failure.rpc(), 24).Add(" ").Left(failure.code(), 21).Add(" ").Left(failure.reason(), 25).Add(" ");
    lines->push_back(line.Right(Thousands(failure.count()), 12).text());
  }
}

}  // namespace

std::string ShortNumber(double value) {
  if (value == 0) return "0";
  if (value < 100 && value != std::floor(value)) return absl::StrFormat("%.1f", value);
  if (value < 1e7) return Thousands(static_cast<uint64_t>(std::llround(value)));
  return absl::StrFormat("%.1f M", value / 1e6);
}

std::string ShortTime(double seconds) {
  if (seconds == 0) return "0";
  if (seconds < 1e-4) return absl::StrFormat("%.0f us", seconds * 1e6);
  if (seconds < 1) return absl::StrFormat("%.*f ms", seconds < 0.01 ? 2 : seconds < 0.1 ? 1 : 0, seconds * 1e3);
  return absl::StrFormat("%.1f s", seconds);
}

std::vector<std::string> RenderTop(const v1::ServerStats& stats, const TopView& view) {
  std::vector<std::string> lines;
  AddHead(stats, view, &lines);
  AddLoad(stats, view, &lines);
  AddModels(stats, view, &lines);
  AddFailures(stats, view, &lines);
  if (view.rows > 0) {
    const auto rows = static_cast<size_t>(view.rows);
    const size_t keep = rows - (view.keys ? 1 : 0);
    if (lines.size() > keep) lines.resize(keep);
    if (view.keys) {
      lines.resize(keep);
      constexpr const char* kOrders[] = {"steps/s", "sessions", "latency", "name"};
      Line keys(view);
      keys.Add(absl::StrCat("q quit   s order: ", kOrders[static_cast<int>(view.order)], "   space ",
                            view.paused ? "goes on" : "pauses"),
               Style::kSoft);
      lines.push_back(keys.text());
    }
  }
  return lines;
}

}  // namespace lstmd::client
