// SPDX-License-Identifier: Apache-2.0
#include "client/endpoints.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_split.h"

namespace lstmd::client {
namespace {

// Addresses that servers named. Each keeps a channel, and a server could name any number.
constexpr size_t kMaxNamed = 64;

}  // namespace

Endpoint::Endpoint(std::string address, std::shared_ptr<grpc::Channel> channel)
    : address(std::move(address)),
      channel(std::move(channel)),
      models(v1::ModelService::NewStub(this->channel)),
      sessions(v1::SessionService::NewStub(this->channel)),
      inference(v1::InferenceService::NewStub(this->channel)),
      admin(v1::AdminService::NewStub(this->channel)) {}

Endpoints::Endpoints(std::vector<std::string> addresses, MakeChannel make_channel)
    : addresses_(std::move(addresses)), make_channel_(std::move(make_channel)) {}

Endpoints::Endpoints(std::shared_ptr<grpc::Channel> channel, MakeChannel make_channel)
    : addresses_({""}), make_channel_(std::move(make_channel)) {
  MutexLock lock(&mutex_);
  endpoints_[""] = std::make_unique<Endpoint>("", std::move(channel));
}

size_t Endpoints::Find(const std::string& address) const {
  return static_cast<size_t>(std::find(addresses_.begin(), addresses_.end(), address) - addresses_.begin());
}

Endpoint* Endpoints::AtLocked(const std::string& address) {
  const auto found = endpoints_.find(address);
  if (found != endpoints_.end()) return found->second.get();
  if (Find(address) == addresses_.size()) {
    const bool plausible = address.find(':') != std::string::npos;
    if (!plausible || endpoints_.size() >= addresses_.size() + kMaxNamed) return nullptr;
  }
  return (endpoints_[address] = std::make_unique<Endpoint>(address, make_channel_(address))).get();
}

Endpoint* Endpoints::Current() {
  MutexLock lock(&mutex_);
  return AtLocked(addresses_[current_]);
}

Endpoint* Endpoints::At(const std::string& address) {
  MutexLock lock(&mutex_);
  return AtLocked(address);
}

Endpoint* Endpoints::After(const std::string& address) {
  MutexLock lock(&mutex_);
  const size_t index = Find(address);
  return AtLocked(addresses_[index == addresses_.size() ? 0 : (index + 1) % addresses_.size()]);
}

void Endpoints::MoveOn(const std::string& from) {
  MutexLock lock(&mutex_);
  if (addresses_[current_] == from) current_ = (current_ + 1) % addresses_.size();
}

void Endpoints::Prefer(const std::string& address) {
  MutexLock lock(&mutex_);
  const size_t index = Find(address);
  if (index < addresses_.size()) current_ = index;
}

void TryToConnect(grpc::Channel* channel, std::chrono::system_clock::time_point deadline) {
  constexpr auto kOnceMore = std::chrono::milliseconds(200);
  grpc_connectivity_state state = channel->GetState(/*try_to_connect=*/true);
  while (state == GRPC_CHANNEL_IDLE || state == GRPC_CHANNEL_CONNECTING) {
    if (!channel->WaitForStateChange(state, deadline)) return;
    state = channel->GetState(true);
  }
  if (state != GRPC_CHANNEL_TRANSIENT_FAILURE) return;
  grpc::experimental::ChannelResetConnectionBackoff(channel);
  channel->WaitForConnected(std::min(deadline, std::chrono::system_clock::now() + kOnceMore));
}

std::vector<std::string> ParseAddresses(const std::string& addresses) {
  std::vector<std::string> parts;
  for (absl::string_view part : absl::StrSplit(addresses, ',')) {
    part = absl::StripAsciiWhitespace(part);
    if (!part.empty()) parts.emplace_back(part);
  }
  return parts;
}

}  // namespace lstmd::client
