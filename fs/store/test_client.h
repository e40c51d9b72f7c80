// For tests of the store: a client that speaks its protocol by hand.
#pragma once

#include <doctest/doctest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "fs/store/store.h"
#include "ssid/wire/carrier/socket_channel.h"

namespace ssi::fs {

struct TempDir {
  TempDir() {
    char pattern[] = "/tmp/ssid-store-XXXXXX";
    path = ::mkdtemp(pattern);
  }
  ~TempDir() { std::filesystem::remove_all(path); }
  std::string path;
};

template <typename T>
inline ByteSpan bytes_of(const T& value) {
  return {reinterpret_cast<const std::uint8_t*>(&value), sizeof(value)};
}
inline ByteSpan text(std::string_view s) {
  return {reinterpret_cast<const std::uint8_t*>(s.data()), s.size()};
}

// A client that speaks the protocol by hand.
struct Client {
  explicit Client(Store& store, std::uint8_t token = 1, std::uint32_t lane = 1,
                  std::uint32_t realm = 1) {
    int pair[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
    channel = std::make_unique<SocketChannel>(UniqueFd(pair[0]));
    LinkHello hello;
    hello.token.fill(token);
    hello.lane = lane;
    hello.realm = realm;
    server = std::thread([&store, hello, fd = pair[1]] {
      SocketChannel accepted{UniqueFd(fd)};
      store.serve(accepted, hello);
    });
    REQUIRE(channel->recv(frame).ok());
    ByteReader reader(frame.span());
    welcome = reader.get<LinkWelcome>();
  }
  ~Client() {
    channel->abort();
    server.join();
  }
  int ask(RequestHead head, std::initializer_list<ByteSpan> parts) {
    if (head.seq == 0) head.seq = ++seq;
    std::vector<std::uint8_t> all(bytes_of(head).begin(), bytes_of(head).end());
    for (const auto& part : parts) all.insert(all.end(), part.begin(), part.end());
    if (!channel->send({ByteSpan(all)}).ok() || !channel->recv(frame).ok()) return -1;
    ByteReader reader(frame.span());
    return reader.get<ReplyHead>().error;
  }
  template <typename T>
  T reply() {
    ByteReader reader(frame.span().subspan(sizeof(ReplyHead)));
    return reader.get<T>();
  }
  int lookup(std::uint64_t dir, std::string_view name, EntryReply& entry) {
    RequestHead head;
    head.op = Op::kLookup;
    head.node = dir;
    const NameBody body{static_cast<std::uint32_t>(name.size()), 0};
    const int error = ask(head, {bytes_of(body), text(name)});
    if (error == 0) entry = reply<EntryReply>();
    return error;
  }
  int make(Op op, std::uint64_t dir, std::string_view name, std::uint32_t mode,
           std::uint64_t seq_no = 0) {
    RequestHead head;
    head.seq = seq_no;
    head.op = op;
    head.node = dir;
    head.uid = 1234;
    head.gid = 1234;
    head.umask = 022;
    MakeBody body;
    body.name_bytes = static_cast<std::uint32_t>(name.size());
    body.mode = mode;
    body.flags = 2;  // O_RDWR
    return ask(head, {bytes_of(body), text(name)});
  }

  std::unique_ptr<SocketChannel> channel;
  std::thread server;
  FrameBuffer frame;
  LinkWelcome welcome;
  std::uint64_t seq = 0;
};

}  // namespace ssi::fs
