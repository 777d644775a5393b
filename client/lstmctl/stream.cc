// SPDX-License-Identifier: Apache-2.0
//
// lstmctl stream: rows in, rows out, one time step each.
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client/error.h"
#include "client/lstmctl/command.h"
#include "client/lstmctl/print.h"
#include "client/lstmctl/progress.h"
#include "client/lstmctl/row_writer.h"
#include "client/lstmctl/rows.h"

namespace lstmd::client {
namespace {

struct StreamArguments {
  std::string target;
  std::string input = "-";
  std::string output = "-";
  std::vector<std::string> columns;
  uint32_t in_flight = 256;
  bool create = false;
  bool resume = false;
};

// What the callbacks of the steps find.
struct Replies {
  Mutex mutex;
  absl::Status error ABSL_GUARDED_BY(mutex);  // the first one, with the line of its row
  uint64_t answered ABSL_GUARDED_BY(mutex) = 0;
};

// The same error, its message led by where the row came from; details stay.
absl::Status At(const std::string& where, const absl::Status& status) {
  absl::Status located(status.code(), absl::StrCat(where, ": ", status.message()));
  status.ForEachPayload([&](absl::string_view type, const absl::Cord& payload) { located.SetPayload(type, payload); });
  return located;
}

// S: Stream or ResumableStream.
template <typename S>
absl::Status SendRows(S* stream, const Binding& binding, RowReader* reader, RowWriter* writer) {
  Replies replies;
  absl::Status status;
  {
    Progress progress("streaming", 0);
    std::vector<float> row;
    for (uint64_t sent = 0;; ++sent) {
      absl::StatusOr<bool> more = reader->Next(&row);
      status = more.status();
      if (!status.ok() || !*more) break;
      if (row.size() != binding.input_size) {
        status = absl::InvalidArgumentError(
            absl::StrCat(reader->Where(), ": got ", row.size(), " numbers, want ", binding.input_size, " as model ",
                         ShortName(binding.session.name()), " takes; --columns chooses"));
        break;
      }
      Steps steps;
      steps.handles = absl::MakeConstSpan(&binding.handle, 1);
      steps.input = row;
      status = stream->Send(steps, [&replies, writer, where = reader->Where()](const StepResult& result) {
        MutexLock lock(&replies.mutex);
        if (!result.status.ok()) {
          if (replies.error.ok()) replies.error = At(where, result.status);
        } else if (replies.error.ok()) {
          ++replies.answered;
          writer->Append(result.output);
        }
      });
      if (!status.ok() || !writer->WaitForRoom()) break;
      MutexLock lock(&replies.mutex);
      if (!replies.error.ok()) break;
      progress.Set(replies.answered);
    }
  }
  const absl::Status finished = stream->Finish();
  MutexLock lock(&replies.mutex);
  if (!replies.error.ok()) return replies.error;
  return status.ok() ? finished : status;
}

template <typename S>
absl::Status StreamOver(const std::unique_ptr<S> stream, const std::string& name, const Context& context,
                        const StreamArguments& arguments, RowReader* reader) {
  BindOptions bind;
  bind.create_if_missing = arguments.create;
  const absl::StatusOr<Binding> binding = stream->Bind(name, bind);
  if (!binding.ok()) return binding.status();
  RowWriter writer(arguments.output, context.json);
  const absl::Status status = SendRows(stream.get(), *binding, reader, &writer);
  const absl::Status written = writer.Finish();
  return status.ok() ? written : status;
}

absl::Status StreamRows(const Context& context, const StreamArguments& arguments) {
  absl::StatusOr<std::unique_ptr<RowReader>> reader = RowReader::Open(arguments.input, arguments.columns);
  if (!reader.ok()) return reader.status();
  absl::StatusOr<std::unique_ptr<Client>> client = context.Connect();
  if (!client.ok()) return client.status();

  const std::vector<std::string> parts = absl::StrSplit(arguments.target, '/');
  const bool temporary = parts.size() == 1;
  std::string name = arguments.target;
  if (temporary) {
    CreateSessionOptions create;
    create.idle_ttl = absl::Minutes(10);  // should this program be killed
    create.labels["created-by"] = "lstmctl-stream";
    absl::StatusOr<Session> session = (*client)->CreateSession(arguments.target, create);
    if (!session.ok()) return session.status();
    name = session->name();
  } else if (parts.size() == 2) {
    name = SessionName(parts[0], parts[1]);
  }
  absl::Status status;
  if (arguments.resume) {
    ResumeOptions options;
    options.max_in_flight = arguments.in_flight;
    status = StreamOver((*client)->OpenResumableStream(options), name, context, arguments, reader->get());
  } else {
    StreamOptions options;
    options.max_in_flight = arguments.in_flight;
    status = StreamOver((*client)->OpenStream(options), name, context, arguments, reader->get());
  }
  if (temporary) (*client)->OpenSession(name).Delete(/*allow_missing=*/true).IgnoreError();
  return status;
}

}  // namespace

void AddStreamCommand(CLI::App* app, Context* context) {
  auto arguments = std::make_shared<StreamArguments>();
  CLI::App* stream = app->add_subcommand("stream", "Feed rows to a session as they come, and print each output");
  stream
      ->add_option("TARGET", arguments->target,
                   "MODEL: a session of its own, deleted at the end; or MODEL/ID: goes on with that session")
      ->required()
      ->type_name("");
  stream->add_option("FILE", arguments->input, "CSV or .npy rows, one time step each; -: standard input")
      ->capture_default_str()
      ->type_name("");
  stream->add_option("--out", arguments->output, "Where outputs go; a name with .npy is written so; -: standard output")
      ->capture_default_str()
      ->type_name("FILE");
  stream->add_option("--columns", arguments->columns, "Columns of the CSV to read, by name or number from 1")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->type_name("A,B,...");
  stream->add_option("--in-flight", arguments->in_flight, "Rows sent before the first is answered")
      ->capture_default_str()
      ->check(CLI::Range(1, 1'000'000));
  stream->add_flag("--resume", arguments->resume,
                   "Survive broken connections and restarts of the server: rows are numbered, sent again, taken once");
  stream->add_flag("--create", arguments->create, "Create the session MODEL/ID if there is none");
  stream->footer(
      "Examples:\n"
      "  lstmctl stream sunspots months.csv --columns value --out forecasts.csv\n"
      "  tail -f sensor.csv | lstmctl stream pump/7 --create\n"
      "  tail -f sensor.csv | lstmctl --server a:8001,b:8001 stream pump/7 --resume");
  stream->callback([=] { context->run = [=] { return StreamRows(*context, *arguments); }; });
}

}  // namespace lstmd::client
