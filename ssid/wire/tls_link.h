// A link: an encrypted stream of bytes or frames between two nodes, used by worker threads with
// blocking calls.
//
//     SSI_ASSIGN(auto link, TlsLink::connect(context, "10.0.0.2", 4100, {}));
//     SSI_TRY(link->send_frame(kHello, payload));
//     SSI_ASSIGN(Frame answer, link->recv_frame(limits));
//
// How bytes go: the socket is ours, OpenSSL only sees memory. A writer encrypts up to 256 KiB into
// a buffer and sends that with one system call; a reader receives up to 256 KiB and decrypts from
// there. So one reader and any number of writers work at the same time; only the arithmetic is
// under a lock, never a system call. (Letting OpenSSL own the socket costs a system call for each
// 16 KiB record and forbids reading and writing at once.)
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "ssid/base/ids.h"
#include "ssid/base/result.h"
#include "ssid/base/unique_fd.h"
#include "ssid/wire/frame.h"
#include "ssid/wire/link_timeouts.h"
#include "ssid/wire/tls_context.h"

namespace ssi {

// Owned by whoever made it. Threads: one may read, any may write, any may abort(); destroy it when
// none is inside. What may go wrong, in every call: kGone (the peer closed it, or its machine
// vanished), kTimeout (silence), kFailed (garbage, tampering, abort()). After an error the link is
// of no more use.
class TlsLink {
 public:
  // `address`: a number or a name; `port` 1..65535. Returns when the other side has shown that it
  // has the key and which node it is.
  static Result<std::unique_ptr<TlsLink>> connect(std::shared_ptr<const TlsContext> context,
                                                  const std::string& address, std::uint16_t port,
                                                  LinkTimeouts timeouts);
  // The other end of it, on a connection from TcpListener. A peer without the key gets not one
  // byte.
  static Result<std::unique_ptr<TlsLink>> accept(std::shared_ptr<const TlsContext> context,
                                                 UniqueFd connection, LinkTimeouts timeouts);
  // Says goodbye if that is possible at once.
  ~TlsLink();
  TlsLink(const TlsLink&) = delete;
  TlsLink& operator=(const TlsLink&) = delete;

  NodeId peer() const { return peer_; }
  // "node 2 at 10.0.0.2:4100", for logs.
  const std::string& name() const { return name_; }

  Result<> write_all(std::span<const std::byte> bytes);
  // Several pieces one after the other, as if they were one.
  Result<> write_v(std::span<const std::span<const std::byte>> pieces);
  Result<> send_frame(std::uint16_t type, std::span<const std::byte> payload);

  // Fills `bytes`. Silence before the first byte: `wait_ms`; between bytes: stall_ms. A kTimeout of
  // the first kind has taken nothing: the link is still good.
  Result<> read_exact(std::span<std::byte> bytes, std::int64_t wait_ms = kIdle);
  // At least one byte, at most `bytes`.
  Result<std::size_t> read_some(std::span<std::byte> bytes, std::int64_t wait_ms = kIdle);
  Result<Frame> recv_frame(FrameLimits limits, std::int64_t wait_ms = kIdle);
  // Only the header, so that a big payload can be read to its place with read_exact.
  Result<FrameHeader> recv_frame_header(FrameLimits limits, std::int64_t wait_ms = kIdle);

  // As wait_ms: the idle_ms of the link's time-outs. 0: for ever, while the peer's machine is
  // alive.
  static constexpr std::int64_t kIdle = -1;

  // Any thread: makes every call that is in progress, and every later one, return an error.
  void abort();

  // The key of a direction is changed after so many records (AES-GCM allows some 2^24). For tests.
  void set_rekey_records(std::uint64_t records) { rekey_records_ = records; }

 private:
  TlsLink(std::shared_ptr<const TlsContext> context, UniqueFd fd, LinkTimeouts timeouts);

  Result<> start(bool server);
  Result<> handshake(bool server, const std::string& identity);
  Result<> exchange_hello(bool server);
  Result<> receive_more(std::int64_t silence_ms);
  Result<> send_pending();
  Result<> encrypt(std::span<const std::byte> bytes);
  Error broken(Error error);
  Error tls_error(int result, std::string_view what);

  struct OwnBio;  // OpenSSL's view of incoming_ and outgoing_
  friend struct OwnBio;

  std::shared_ptr<const TlsContext> context_;
  UniqueFd fd_;
  LinkTimeouts timeouts_;
  std::string name_;
  NodeId peer_;
  std::int64_t hello_deadline_ms_ = 0;  // while it is being made; 0 afterwards
  std::atomic<bool> aborted_{false};
  std::atomic<bool> broken_{false};

  std::mutex tls_mutex_;  // ssl_, outgoing_
  ssl_st* ssl_ = nullptr;
  std::vector<std::byte> outgoing_;  // ciphertext, not yet sent

  // Ciphertext received: touched by the one reader only (OpenSSL reads it when the reader calls
  // it).
  std::unique_ptr<std::byte[]> incoming_;
  std::size_t incoming_begin_ = 0;
  std::size_t incoming_end_ = 0;

  std::mutex write_mutex_;  // one writer at a time; taken before tls_mutex_
  std::vector<std::byte> sending_;
  std::uint64_t records_ = 0;
  std::atomic<std::uint64_t> rekey_records_;
};

}  // namespace ssi
