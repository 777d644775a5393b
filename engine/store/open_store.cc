// SPDX-License-Identifier: Apache-2.0
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "engine/errors.h"
#include "engine/store/redis_store.h"
#include "engine/store/rocks_store.h"

namespace lstmd {
namespace {

// What follows `scheme`; "" if `flag` does not begin with it.
std::string_view After(std::string_view scheme, std::string_view flag) {
  return flag.substr(0, scheme.size()) == scheme ? flag.substr(scheme.size()) : std::string_view();
}

}  // namespace

absl::StatusOr<std::unique_ptr<StateStore>> OpenStore(std::string_view flag, const std::string& password) {
  if (const std::string_view folder = After("rocksdb:", flag); !folder.empty()) {
    return OpenRocksStore(std::string(folder));
  }
  RedisAddress address;
  const std::string_view place = After("redis:", flag);
  if (const std::string_view path = After("unix:", place); !path.empty()) {
    address.path = path;
    return OpenRedisStore(std::move(address), password);
  }
  const size_t colon = place.rfind(':');
  if (colon != place.npos && colon != 0) {
    const std::string_view port = place.substr(colon + 1);
    address.host = place.substr(0, colon);
    if (absl::SimpleAtoi(absl::string_view(port.data(), port.size()), &address.port) && address.port > 0 &&
        address.port < 65536) {
      return OpenRedisStore(std::move(address), password);
    }
  }
  return InvalidArgument("STORE", absl::StrCat("store: got '", std::string(flag),
                                               "', want rocksdb:DIR, redis:HOST:PORT or redis:unix:PATH"));
}

}  // namespace lstmd
