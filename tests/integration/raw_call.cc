// SPDX-License-Identifier: Apache-2.0
#include "tests/integration/raw_call.h"

#include <vector>

namespace lstmd {

RawCall::RawCall(const std::shared_ptr<grpc::Channel>& channel, const std::string& method) : stub_(channel) {
  context_.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
  call_ = stub_.PrepareCall(&context_, method, &queue_);
  call_->StartCall(this);
  Wait();
}

RawCall::~RawCall() {
  context_.TryCancel();
  grpc::Status status;
  call_->Finish(&status, this);
  Wait();
  queue_.Shutdown();
}

void RawCall::Write(const std::string& bytes, bool last) {
  const grpc::Slice slice(bytes);
  const grpc::ByteBuffer buffer(&slice, 1);
  grpc::WriteOptions options;
  if (last) options.set_last_message();
  call_->Write(buffer, options, this);
  Wait();
}

std::optional<std::string> RawCall::Read() {
  grpc::ByteBuffer buffer;
  call_->Read(&buffer, this);
  if (!Wait()) return std::nullopt;
  std::vector<grpc::Slice> slices;
  if (!buffer.Dump(&slices).ok()) return std::nullopt;
  std::string bytes;
  for (const grpc::Slice& slice : slices) bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  return bytes;
}

bool RawCall::Wait() {
  void* tag = nullptr;
  bool ok = false;
  return queue_.Next(&tag, &ok) && ok;
}

}  // namespace lstmd
