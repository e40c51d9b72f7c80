// For tests of views: a directory, and a home that shows it, in this process.
#pragma once

#include <sys/socket.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "fs/store/store.h"
#include "ssid/wire/carrier/socket_channel.h"

namespace ssi::fs {

struct TempDir {
  TempDir() {
    char pattern[] = "/tmp/ssid-remote-XXXXXX";
    path = ::mkdtemp(pattern);
  }
  ~TempDir() { std::filesystem::remove_all(path); }
  std::string path;
};

// A home whose store can be taken away and started again.
class Home {
 public:
  explicit Home(std::string root) : root_(std::move(root)) { start(); }
  ~Home() { stop(); }
  Store& store() { return *store_; }
  void start() {
    std::lock_guard lock(mutex_);
    store_ = std::make_unique<Store>(Store::Options{.root = root_});
    up_ = true;
  }
  void stop() {
    {
      std::lock_guard lock(mutex_);
      up_ = false;  // nobody begins to use it any more
    }
    store_->stop();
    join();
    store_.reset();
  }
  // Breaks the connections, keeps the sessions.
  void cut() {
    std::vector<std::weak_ptr<SocketChannel>> accepted;
    {
      std::lock_guard lock(mutex_);
      accepted.swap(accepted_);
    }
    for (const auto& weak : accepted) {
      if (const auto channel = weak.lock()) channel->abort();
    }
  }
  Result<std::unique_ptr<Channel>> dial() {
    int pair[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
      return Error::from_errno("pair");
    auto accepted = std::make_shared<SocketChannel>(UniqueFd(pair[1]));
    std::lock_guard lock(mutex_);
    if (!up_) return Error("home is down");
    accepted_.push_back(accepted);
    threads_.emplace_back([this, accepted] {
      FrameBuffer frame;
      if (!accepted->recv(frame).ok()) return;
      ByteReader reader(frame.span());
      store_->serve(*accepted, reader.get<LinkHello>());
      accepted->abort();
    });
    return std::unique_ptr<Channel>(new SocketChannel(UniqueFd(pair[0])));
  }

 private:
  void join() {
    std::vector<std::thread> threads;
    {
      std::lock_guard lock(mutex_);
      threads.swap(threads_);
    }
    for (auto& thread : threads) thread.join();
  }

  std::string root_;
  std::unique_ptr<Store> store_;
  std::mutex mutex_;  // a view dials from several threads
  bool up_ = false;
  std::vector<std::thread> threads_;
  std::vector<std::weak_ptr<SocketChannel>> accepted_;
};

}  // namespace ssi::fs
