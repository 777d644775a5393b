// SPDX-License-Identifier: Apache-2.0
//
// The servers that a Client may talk to, and which of them it talks to now.
#ifndef LSTMD_CLIENT_ENDPOINTS_H_
#define LSTMD_CLIENT_ENDPOINTS_H_

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "client/mutex.h"
#include "grpcpp/channel.h"
#include "lstmd/v1/admin_service.grpc.pb.h"
#include "lstmd/v1/inference_service.grpc.pb.h"
#include "lstmd/v1/model_service.grpc.pb.h"
#include "lstmd/v1/session_service.grpc.pb.h"

namespace lstmd::client {

// One server: a channel and the stubs over it.
struct Endpoint {
  Endpoint(std::string address, std::shared_ptr<grpc::Channel> channel);

  const std::string address;
  const std::shared_ptr<grpc::Channel> channel;
  const std::unique_ptr<v1::ModelService::Stub> models;
  const std::unique_ptr<v1::SessionService::Stub> sessions;
  const std::shared_ptr<v1::InferenceService::Stub> inference;
  const std::unique_ptr<v1::AdminService::Stub> admin;
};

// Thread-safe. Endpoints live as long as this does.
class Endpoints {
 public:
  using MakeChannel = std::function<std::shared_ptr<grpc::Channel>(const std::string& address)>;

  // The first is current. REQUIRES: `addresses` is not empty.
  Endpoints(std::vector<std::string> addresses, MakeChannel make_channel);
  // One server, over a channel that the caller made; others come by At.
  Endpoints(std::shared_ptr<grpc::Channel> channel, MakeChannel make_channel);

  size_t size() const { return addresses_.size(); }
  Endpoint* Current();
  // Also of an address that was not given at the start, for example one that a server named. nullptr when it cannot be
  // one, or when there have been too many of those.
  Endpoint* At(const std::string& address);
  // The one after `address` in the list, around its end; the first after an address that is not in it.
  Endpoint* After(const std::string& address);
  // `from` does not serve: Current is the next one, unless it is another already.
  void MoveOn(const std::string& from);
  // Current is `address`, if it is one of the list.
  void Prefer(const std::string& address);

 private:
  size_t Find(const std::string& address) const;
  Endpoint* AtLocked(const std::string& address) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::vector<std::string> addresses_;
  const MakeChannel make_channel_;
  Mutex mutex_;
  size_t current_ ABSL_GUARDED_BY(mutex_) = 0;  // in addresses_
  std::map<std::string, std::unique_ptr<Endpoint>> endpoints_ ABSL_GUARDED_BY(mutex_);
};

// Lets the first connection of `channel` come about, or fail twice, until `deadline`. gRPC 1.51 looks at the errno of a
// connect after it has allocated memory, so that one that goes on is now and then taken for failed, as on a system
// without /sys, where glibc then looks for it.
void TryToConnect(grpc::Channel* channel, std::chrono::system_clock::time_point deadline);

// "host1:port,host2:port" -> its parts.
std::vector<std::string> ParseAddresses(const std::string& addresses);

}  // namespace lstmd::client

#endif  // LSTMD_CLIENT_ENDPOINTS_H_
