#include "ssid/wire/tls_link.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "ssid/wire/tcp.h"
#include "ssid/wire/wait_ready.h"

namespace ssi {
namespace {

constexpr std::size_t kRecordBytes = 16384;             // the most TLS puts into one record
constexpr std::size_t kBatchBytes = 16 * kRecordBytes;  // per system call
constexpr std::uint64_t kRekeyRecords = 1u << 22;       // 64 GiB of full records

// The accepting node's first frame; the connecting one has shown itself by the identity of its key.
constexpr std::uint16_t kHelloType = 0xffff;
constexpr std::size_t kHelloBytes = 4;
constexpr FrameLimit kHelloLimit[] = {{.type = kHelloType, .bytes_max = kHelloBytes}};

Error socket_error(std::string_view what, int err) {
  const bool gone = err == ECONNRESET || err == EPIPE || err == ETIMEDOUT || err == ENOTCONN ||
                    err == EHOSTUNREACH || err == ENETUNREACH;
  return Error(gone ? ErrorCode::kGone : ErrorCode::kFailed,
               std::string(what) + ": " + std::strerror(err));
}

}  // namespace

// OpenSSL reads and writes memory of the link.
struct TlsLink::OwnBio {
  static TlsLink& link_of(BIO* bio) { return *static_cast<TlsLink*>(BIO_get_data(bio)); }

  static int read(BIO* bio, char* to, int bytes) {
    BIO_clear_retry_flags(bio);
    TlsLink& link = link_of(bio);
    const std::size_t n =
        std::min(static_cast<std::size_t>(bytes), link.incoming_end_ - link.incoming_begin_);
    if (n == 0) {
      BIO_set_retry_read(bio);
      return -1;
    }
    std::memcpy(to, link.incoming_.get() + link.incoming_begin_, n);
    link.incoming_begin_ += n;
    return static_cast<int>(n);
  }
  static int write(BIO* bio, const char* from, int bytes) {
    BIO_clear_retry_flags(bio);
    const auto* begin = reinterpret_cast<const std::byte*>(from);
    auto& outgoing = link_of(bio).outgoing_;
    outgoing.insert(outgoing.end(), begin, begin + bytes);
    return bytes;
  }
  static long control(BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1 : 0; }

  static BIO* create(TlsLink* link) {
    static BIO_METHOD* const method = [] {
      BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "ssid link");
      SSI_CHECK(made != nullptr && BIO_meth_set_read(made, read) == 1 &&
                BIO_meth_set_write(made, write) == 1 && BIO_meth_set_ctrl(made, control) == 1);
      return made;
    }();
    BIO* bio = BIO_new(method);
    if (bio == nullptr) return nullptr;
    BIO_set_data(bio, link);
    BIO_set_init(bio, 1);
    return bio;
  }
};

TlsLink::TlsLink(std::shared_ptr<const TlsContext> context, UniqueFd fd, LinkTimeouts timeouts)
    : context_(std::move(context)),
      fd_(std::move(fd)),
      timeouts_(timeouts),
      name_(tcp_peer_name(*fd_)),
      incoming_(std::make_unique_for_overwrite<std::byte[]>(kBatchBytes)),
      rekey_records_(kRekeyRecords) {}

TlsLink::~TlsLink() {
  if (ssl_ != nullptr && peer_ && !aborted_ && !broken_) {
    ERR_clear_error();
    (void)SSL_shutdown(ssl_);
    (void)::send(*fd_, outgoing_.data(), outgoing_.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  }
  SSL_free(ssl_);
}

Result<std::unique_ptr<TlsLink>> TlsLink::connect(std::shared_ptr<const TlsContext> context,
                                                  const std::string& address, std::uint16_t port,
                                                  LinkTimeouts timeouts) {
  SSI_ASSIGN(UniqueFd fd, tcp_connect(address, port, timeouts));
  std::unique_ptr<TlsLink> link(new TlsLink(std::move(context), std::move(fd), timeouts));
  SSI_TRY(link->start(false));
  return link;
}

Result<std::unique_ptr<TlsLink>> TlsLink::accept(std::shared_ptr<const TlsContext> context,
                                                 UniqueFd connection, LinkTimeouts timeouts) {
  SSI_TRY(tcp_tune(*connection, timeouts));
  std::unique_ptr<TlsLink> link(new TlsLink(std::move(context), std::move(connection), timeouts));
  SSI_TRY(link->start(true));
  return link;
}

Result<> TlsLink::start(bool server) {
  hello_deadline_ms_ = deadline_in(timeouts_.handshake_ms);
  ssl_ = SSL_new(context_->native());
  BIO* bio = ssl_ == nullptr ? nullptr : OwnBio::create(this);
  if (bio == nullptr) return Error("out of memory");
  SSL_set_bio(ssl_, bio, bio);
  std::string identity = server ? "" : psk_identity(context_->self());
  SSL_set_app_data(ssl_, &identity);
  auto shaken = handshake(server, identity);
  SSL_set_app_data(ssl_, nullptr);
  if (shaken && server) {
    auto shown = parse_psk_identity(identity);
    if (!shown) return broken(std::move(shown).error());
    peer_ = *shown;
  }
  if (shaken) shaken = exchange_hello(server);
  if (!shaken) {
    broken_ = true;
    return std::move(shaken).context(name_ + ": handshake");
  }
  hello_deadline_ms_ = 0;
  name_ = "node " + std::to_string(peer_.value) + " at " + name_;
  return {};
}

Result<> TlsLink::handshake(bool server, const std::string& identity) {
  if (server) {
    SSL_set_accept_state(ssl_);
  } else {
    SSL_set_connect_state(ssl_);
    SSL_set_verify(ssl_, SSL_VERIFY_PEER,
                   nullptr);  // a server with a certificate instead of the key
  }
  for (;;) {
    ERR_clear_error();
    const int result = SSL_do_handshake(ssl_);
    const int why = result == 1 ? SSL_ERROR_NONE : SSL_get_error(ssl_, result);
    // An alert, or anything else, to a peer that has not shown the key: it gets nothing.
    if (why != SSL_ERROR_NONE && why != SSL_ERROR_WANT_READ) return tls_error(result, "TLS");
    if (server && identity.empty() && !outgoing_.empty()) return Error("the peer offered no key");
    SSI_TRY(send_pending());
    if (why == SSL_ERROR_NONE) break;
    SSI_TRY(receive_more(0));
  }
  // Not by a certificate, and not without anything.
  if (SSL_session_reused(ssl_) != 1) return Error("the peer did not use the key");
  return {};
}

Result<> TlsLink::exchange_hello(bool server) {
  if (server) {
    std::array<std::byte, kHelloBytes> node;
    for (std::size_t i = 0; i < node.size(); ++i)
      node[i] = static_cast<std::byte>((context_->self().value >> (8 * i)) & 0xff);
    return send_frame(kHelloType, node);
  }
  SSI_ASSIGN(Frame hello, recv_frame(kHelloLimit, 0));
  if (hello.payload.size() != kHelloBytes) return Error("bad hello");
  std::uint32_t node = 0;
  for (std::size_t i = 0; i < kHelloBytes; ++i)
    node |= static_cast<std::uint32_t>(hello.payload[i]) << (8 * i);
  if (node == 0) return Error("bad hello");
  peer_ = NodeId{node};
  return {};
}

// Waits at most silence_ms (0: no limit but that of the handshake) for the next bytes from the
// socket.
Result<> TlsLink::receive_more(std::int64_t silence_ms) {
  std::int64_t deadline_ms = 0;
  for (;;) {
    if (aborted_) return broken(Error("aborted"));
    const ssize_t n = ::recv(*fd_, incoming_.get(), kBatchBytes, 0);
    if (n > 0) {
      incoming_begin_ = 0;
      incoming_end_ = static_cast<std::size_t>(n);
      return {};
    }
    if (n == 0) return broken(Error(ErrorCode::kGone, "the peer closed the connection"));
    if (errno == EINTR) continue;
    if (errno != EAGAIN) return broken(socket_error("receive", errno));
    if (deadline_ms == 0)
      deadline_ms = hello_deadline_ms_ != 0 ? hello_deadline_ms_ : deadline_in(silence_ms);
    SSI_TRY(wait_ready(*fd_, POLLIN, deadline_ms).context("receive"));
  }
}

// Sends sending_ and what else is in outgoing_. The caller is the writer.
Result<> TlsLink::send_pending() {
  sending_.clear();
  {
    std::lock_guard lock(tls_mutex_);
    sending_.swap(outgoing_);
  }
  std::size_t done = 0;
  std::int64_t deadline_ms = 0;
  while (done < sending_.size()) {
    if (aborted_) return broken(Error("aborted"));
    const ssize_t n = ::send(*fd_, sending_.data() + done, sending_.size() - done, MSG_NOSIGNAL);
    if (n >= 0) {
      done += static_cast<std::size_t>(n);
      deadline_ms = 0;
      continue;
    }
    if (errno == EINTR) continue;
    if (errno != EAGAIN) return broken(socket_error("send", errno));
    if (deadline_ms == 0)
      deadline_ms = hello_deadline_ms_ != 0 ? hello_deadline_ms_ : deadline_in(timeouts_.stall_ms);
    auto ready = wait_ready(*fd_, POLLOUT, deadline_ms);
    if (!ready) return broken(std::move(ready).error().context("send"));
  }
  return {};
}

// Encrypts at most a batch into outgoing_. The caller is the writer.
Result<> TlsLink::encrypt(std::span<const std::byte> bytes) {
  std::lock_guard lock(tls_mutex_);
  ERR_clear_error();
  if (records_ >= rekey_records_) {
    records_ = 0;
    if (SSL_key_update(ssl_, SSL_KEY_UPDATE_NOT_REQUESTED) != 1)
      return broken(tls_error(0, "change the key"));
    const int result = SSL_do_handshake(ssl_);
    if (result != 1) return broken(tls_error(result, "change the key"));
  }
  std::size_t written = 0;
  const int result = SSL_write_ex(ssl_, bytes.data(), bytes.size(), &written);
  if (result != 1) return broken(tls_error(result, "encrypt"));
  SSI_CHECK(written == bytes.size());
  records_ += (bytes.size() + kRecordBytes - 1) / kRecordBytes;
  return {};
}

Result<> TlsLink::write_v(std::span<const std::span<const std::byte>> pieces) {
  std::size_t total = 0;
  for (const auto& piece : pieces) total += piece.size();
  std::lock_guard lock(write_mutex_);
  if (aborted_) return broken(Error("aborted"));
  if (broken_) return broken(Error(ErrorCode::kGone, "the link has failed"));
  if (pieces.size() > 1 && total <= kRecordBytes) {
    // One record instead of several small ones.
    std::array<std::byte, kRecordBytes> whole;
    std::size_t at = 0;
    for (const auto& piece : pieces) {
      if (!piece.empty()) std::memcpy(whole.data() + at, piece.data(), piece.size());
      at += piece.size();
    }
    if (total > 0) SSI_TRY(encrypt(std::span(whole).first(total)));
    return send_pending();
  }
  std::size_t unsent = 0;
  for (auto piece : pieces) {
    while (!piece.empty()) {
      const auto now = piece.first(std::min(piece.size(), kBatchBytes - unsent));
      SSI_TRY(encrypt(now));
      piece = piece.subspan(now.size());
      unsent += now.size();
      if (unsent < kBatchBytes) continue;
      SSI_TRY(send_pending());
      unsent = 0;
    }
  }
  return send_pending();
}

Result<> TlsLink::write_all(std::span<const std::byte> bytes) {
  return write_v(std::span(&bytes, 1));
}

Result<> TlsLink::send_frame(std::uint16_t type, std::span<const std::byte> payload) {
  if (payload.size() > UINT32_MAX) return Error("frame too long");
  const auto header =
      serialise_frame_header({.type = type, .length = static_cast<std::uint32_t>(payload.size())});
  const std::array<std::span<const std::byte>, 2> pieces = {header, payload};
  return write_v(pieces);
}

Result<std::size_t> TlsLink::read_some(std::span<std::byte> bytes, std::int64_t wait_ms) {
  if (bytes.empty()) return std::size_t{0};
  for (;;) {
    if (aborted_) return broken(Error("aborted"));
    {
      std::lock_guard lock(tls_mutex_);
      if (broken_) return broken(Error(ErrorCode::kGone, "the link has failed"));
      ERR_clear_error();
      std::size_t n = 0;
      const int result = SSL_read_ex(ssl_, bytes.data(), bytes.size(), &n);
      if (result == 1) return n;
      if (SSL_get_error(ssl_, result) != SSL_ERROR_WANT_READ)
        return broken(tls_error(result, "receive"));
    }
    SSI_TRY(receive_more(wait_ms < 0 ? timeouts_.idle_ms : wait_ms));
  }
}

Result<> TlsLink::read_exact(std::span<std::byte> bytes, std::int64_t wait_ms) {
  for (bool begun = false; !bytes.empty(); begun = true) {
    auto n = read_some(bytes, begun ? timeouts_.stall_ms : wait_ms);
    // In the middle of something even silence is the end.
    if (!n && begun) return broken(std::move(n).error());
    if (!n) return std::move(n).error();
    bytes = bytes.subspan(*n);
  }
  return {};
}

Result<FrameHeader> TlsLink::recv_frame_header(FrameLimits limits, std::int64_t wait_ms) {
  std::array<std::byte, kFrameHeaderBytes> bytes;
  SSI_TRY(read_exact(bytes, wait_ms));
  auto header = parse_frame_header(bytes, limits);
  if (!header) return broken(std::move(header).error());
  return header;
}

Result<Frame> TlsLink::recv_frame(FrameLimits limits, std::int64_t wait_ms) {
  SSI_ASSIGN(const FrameHeader header, recv_frame_header(limits, wait_ms));
  Frame frame{.type = header.type, .payload = std::vector<std::byte>(header.length)};
  auto read = read_exact(frame.payload, timeouts_.stall_ms);
  if (!read) return broken(std::move(read).error());
  return frame;
}

void TlsLink::abort() {
  aborted_ = true;
  ::shutdown(*fd_, SHUT_RDWR);
}

Error TlsLink::broken(Error error) {
  broken_ = true;
  if (aborted_) return Error("aborted");
  return error;
}

Error TlsLink::tls_error(int result, std::string_view what) {
  const int why = SSL_get_error(ssl_, result);
  if (why == SSL_ERROR_ZERO_RETURN) return Error(ErrorCode::kGone, "the peer closed the link");
  const unsigned long code = ERR_get_error();
  const char* reason = code == 0 ? nullptr : ERR_reason_error_string(code);
  return Error(std::string(what) + ": " + (reason == nullptr ? "protocol error" : reason));
}

}  // namespace ssi
