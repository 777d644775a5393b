// SPDX-License-Identifier: Apache-2.0
#include "tests/faults/tcp_proxy.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gtest/gtest.h"
#include "tests/faults/loopback.h"

namespace lstmd {
namespace {

void Prepare(int socket) {
  const int on = 1;
  setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  fcntl(socket, F_SETFL, fcntl(socket, F_GETFL) | O_NONBLOCK);
}

}  // namespace

TcpProxy::TcpProxy(int port) : upstream_port_(port) {
  listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = Loopback(0);
  socklen_t size = sizeof address;
  EXPECT_EQ(bind(listener_, reinterpret_cast<sockaddr*>(&address), size), 0);
  EXPECT_EQ(listen(listener_, 64), 0);
  EXPECT_EQ(getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size), 0);
  port_ = ntohs(address.sin_port);
  EXPECT_EQ(pipe2(wake_, O_CLOEXEC | O_NONBLOCK), 0);
  thread_ = std::thread([this] { Run(); });
}

TcpProxy::~TcpProxy() {
  quit_ = true;
  SetCut(false);
  thread_.join();
  for (size_t i = 0; i < pipes_.size(); i += 2) {
    close(pipes_[i]->from);
    close(pipes_[i]->to);
  }
  close(listener_);
  close(wake_[0]);
  close(wake_[1]);
}

void TcpProxy::SetCut(bool cut) {
  cut_ = cut;
  EXPECT_EQ(write(wake_[1], "", 1), 1);
}

void TcpProxy::Accept() {
  const int down = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
  if (down < 0) return;
  const int up = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_in address = Loopback(upstream_port_);
  if (connect(up, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    close(up);
    close(down);
    return;
  }
  Prepare(down);
  Prepare(up);
  pipes_.push_back(std::make_unique<Pipe>(Pipe{down, up, ""}));
  pipes_.push_back(std::make_unique<Pipe>(Pipe{up, down, ""}));
}

bool TcpProxy::Move(Pipe* pipe, short from_events, short to_events) {
  if (pipe->buffer.empty() && from_events != 0) {
    char bytes[65536];
    const ssize_t got = read(pipe->from, bytes, sizeof bytes);
    if (got == 0 || (got < 0 && errno != EAGAIN)) return false;
    if (got > 0) pipe->buffer.assign(bytes, static_cast<size_t>(got));
  }
  if (!pipe->buffer.empty()) {
    const ssize_t put = send(pipe->to, pipe->buffer.data(), pipe->buffer.size(), MSG_NOSIGNAL);
    if (put < 0 && errno != EAGAIN) return false;
    if (put > 0) pipe->buffer.erase(0, static_cast<size_t>(put));
  }
  return (to_events & (POLLERR | POLLHUP)) == 0 || !pipe->buffer.empty() || from_events != 0;
}

void TcpProxy::Run() {
  while (!quit_) {
    std::vector<pollfd> fds = {{wake_[0], POLLIN, 0}};
    const bool cut = cut_;
    if (!cut) {
      fds.push_back({listener_, POLLIN, 0});
      for (const auto& pipe : pipes_) {
        fds.push_back({pipe->from, static_cast<short>(pipe->buffer.empty() ? POLLIN : 0), 0});
        fds.push_back({pipe->to, static_cast<short>(pipe->buffer.empty() ? 0 : POLLOUT), 0});
      }
    }
    poll(fds.data(), fds.size(), -1);
    char byte[16];
    while (read(wake_[0], byte, sizeof byte) > 0) {
    }
    if (cut || cut_) continue;
    const size_t pairs = pipes_.size() / 2;
    for (size_t pair = pairs; pair-- > 0;) {
      bool alive = true;
      for (size_t i = 2 * pair; i < 2 * pair + 2; ++i) {
        alive &= Move(pipes_[i].get(), fds[2 + 2 * i].revents, fds[3 + 2 * i].revents);
      }
      if (alive) continue;
      close(pipes_[2 * pair]->from);
      close(pipes_[2 * pair]->to);
      pipes_.erase(pipes_.begin() + static_cast<long>(2 * pair), pipes_.begin() + static_cast<long>(2 * pair + 2));
    }
    if (fds[1].revents != 0) Accept();
  }
}

}  // namespace lstmd
