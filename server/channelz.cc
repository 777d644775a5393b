// SPDX-License-Identifier: Apache-2.0
#include "server/channelz.h"

#include <algorithm>

#include "absl/strings/numbers.h"
#include "grpc/grpc.h"
#include "grpc/support/alloc.h"
#include "nlohmann/json.hpp"

namespace lstmd::server {
namespace {

using Json = nlohmann::json;

Json Parse(char* text) {
  if (text == nullptr) return Json();
  Json json = Json::parse(text, nullptr, false);
  gpr_free(text);
  return json;
}

// channelz writes 64-bit integers as text.
int64_t Number(const Json& json, const char* key) {
  int64_t number = 0;
  if (json.is_object() && json.contains(key) && json[key].is_string()) {
    (void)absl::SimpleAtoi(json[key].get<std::string>(), &number);
  }
  return number;
}

std::string Text(const Json& json, const char* key) {
  return json.is_object() && json.contains(key) && json[key].is_string() ? json[key].get<std::string>() : "";
}

uint64_t Count(const Json& data, const char* key) {
  return static_cast<uint64_t>(std::max<int64_t>(0, Number(data, key)));
}

bool IsLastPage(const Json& page) {
  return page.contains("end") && page["end"].is_boolean() && page["end"].get<bool>();
}

}  // namespace

int64_t NewestServer() {
  int64_t newest = 0;
  while (true) {
    const Json page = Parse(grpc_channelz_get_servers(newest + 1));
    if (!page.is_object() || !page.contains("server")) return newest;
    for (const Json& server : page["server"]) {
      if (server.contains("ref")) newest = std::max(newest, Number(server["ref"], "serverId"));
    }
    if (page["server"].empty() || IsLastPage(page)) return newest;
  }
}

std::vector<Socket> ListSockets(int64_t server) {
  std::vector<Socket> sockets;
  int64_t next = 0;
  while (true) {
    const Json page = Parse(grpc_channelz_get_server_sockets(server, next, 500));
    if (!page.is_object() || !page.contains("socketRef") || page["socketRef"].empty()) return sockets;
    for (const Json& socket : page["socketRef"]) {
      const std::string name = Text(socket, "name");
      const size_t peer = name.rfind(' ');
      const int64_t id = Number(socket, "socketId");
      sockets.push_back({id, peer == name.npos ? name : name.substr(peer + 1)});
      next = std::max(next, id + 1);
    }
    if (IsLastPage(page)) return sockets;
  }
}

uint64_t CountOpenCalls(int64_t server) {
  const Json json = Parse(grpc_channelz_get_server(server));
  if (!json.is_object() || !json.contains("server") || !json["server"].contains("data")) return 0;
  const Json& data = json["server"]["data"];
  const uint64_t ended = Count(data, "callsSucceeded") + Count(data, "callsFailed");
  return std::max(Count(data, "callsStarted"), ended) - ended;
}

CallCounts CountCalls(int64_t socket) {
  const Json json = Parse(grpc_channelz_get_socket(socket));
  if (!json.is_object() || !json.contains("socket") || !json["socket"].contains("data")) return {};
  const Json& data = json["socket"]["data"];
  return {Count(data, "streamsStarted"), Count(data, "streamsSucceeded") + Count(data, "streamsFailed"),
          Count(data, "messagesReceived")};
}

}  // namespace lstmd::server
