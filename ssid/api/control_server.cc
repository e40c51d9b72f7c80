#include "ssid/api/control_server.h"

#include <fcntl.h>

#include <array>
#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <chrono>
#include <deque>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "ssid/api/op_call.h"
#include "ssid/base/log.h"

namespace ssi {
namespace {

namespace asio = boost::asio;
using Stream = asio::local::stream_protocol;
using AsioError = boost::system::error_code;

constexpr std::size_t kPieceBytes = 16 << 10;
// Read ahead of a request that is being answered: one more request, no more.
constexpr std::size_t kReadAheadBytesMax = kFrameHeaderBytes + kApiRequestBytesMax;
constexpr int kJsonDepthMax = 32;
constexpr std::size_t kOpNameBytesMax = 64;
constexpr auto kAcceptPause = std::chrono::milliseconds(100);

std::string to_text(const nlohmann::json& json) {
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

// An object, not too deep; anything else is none.
Result<nlohmann::json> parse_args(const std::string& text) {
  if (text.empty()) return nlohmann::json::object();
  bool too_deep = false;
  const auto check_depth = [&](int depth, nlohmann::json::parse_event_t, nlohmann::json&) {
    too_deep = too_deep || depth > kJsonDepthMax;
    return !too_deep;
  };
  auto args = nlohmann::json::parse(text, check_depth, /*allow_exceptions=*/false);
  if (too_deep || args.is_discarded() || !args.is_object())
    return Error(ErrorCode::kUsage, "the arguments are not a JSON object");
  return args;
}

}  // namespace

class ControlConnection;

struct ControlServer::Impl : std::enable_shared_from_this<ControlServer::Impl> {
  Impl(asio::io_context& io_in, Options options_in, OpGate gate_in)
      : io(io_in),
        options(std::move(options_in)),
        gate(std::move(gate_in)),
        acceptor(io),
        pause(io) {}

  void accept_next();
  void admit(Stream::socket socket);
  void forget(const std::shared_ptr<ControlConnection>& connection, uid_t uid);
  void close();
  const Op* find(const std::string& name) const {
    const auto at = ops.find(name);
    return at == ops.end() ? nullptr : &at->second;
  }

  asio::io_context& io;
  Options options;
  OpGate gate;
  std::map<std::string, Op> ops;
  std::optional<UnixListener> listener;
  Stream::acceptor acceptor;
  asio::steady_timer pause;
  std::set<std::shared_ptr<ControlConnection>> connections;
  std::map<uid_t, int> connections_of;
};

// One asker. Everything runs on the loop; it lives while it is open or a handler holds its
// Responder.
class ControlConnection : public std::enable_shared_from_this<ControlConnection> {
 public:
  ControlConnection(std::shared_ptr<ControlServer::Impl> server, Stream::socket socket,
                    std::shared_ptr<const Caller> caller)
      : server_(std::move(server)),
        socket_(std::move(socket)),
        caller_(std::move(caller)),
        reader_(kApiRequestLimits),
        idle_(server_->io) {}

  uid_t uid() const { return caller_->uid; }
  asio::io_context& io() { return server_->io; }

  void start() {
    restart_idle();
    read_more();
  }

  void close() {
    if (closed_) return;
    closed_ = true;
    AsioError ignored;
    socket_.close(ignored);
    idle_.cancel();
    std::function<void()> cancel;
    if (auto request = request_.lock()) cancel = request->take_cancel();
    server_->forget(shared_from_this(), caller_->uid);
    if (cancel) cancel();
  }

  // The state of one request that the Responder and the connection share.
  class Request final : public Responder, public std::enable_shared_from_this<Request> {
   public:
    explicit Request(std::weak_ptr<ControlConnection> connection, asio::io_context& io)
        : connection_(std::move(connection)), io_(io) {}
    ~Request() override {
      if (!answered_)
        finish(ApiReply{
            .code = ApiCode::kFailed, .error = "there was no answer", .json = "", .more = false});
    }
    void reply(const nlohmann::json& answer) override {
      finish(ApiReply{.code = ApiCode::kDone, .error = "", .json = to_text(answer), .more = false});
    }
    void error(const Error& why) override {
      finish(ApiReply{.code = api_code(why.code()),
                      .error = one_line(why.message()),
                      .json = "",
                      .more = false});
    }
    void error(const Error& why, const nlohmann::json& details) override {
      finish(ApiReply{.code = api_code(why.code()),
                      .error = one_line(why.message()),
                      .json = to_text(details),
                      .more = false});
    }
    bool more(const nlohmann::json& part) override {
      if (answered_ || cancelled_) return false;
      send(ApiReply{.code = ApiCode::kDone, .error = "", .json = to_text(part), .more = true},
           false);
      return !cancelled_;
    }
    bool cancelled() const override { return cancelled_; }
    void on_cancel(std::function<void()> callback) override {
      // Kept and called on the loop only.
      asio::post(io_, [weak = weak_from_this(), callback = std::move(callback)]() mutable {
        auto self = weak.lock();
        if (!self) return;
        if (self->cancelled_)
          callback();
        else if (!self->answered_)
          self->cancel_ = std::move(callback);
      });
    }
    // The loop: the asker is gone.
    std::function<void()> take_cancel() {
      cancelled_ = true;
      return std::exchange(cancel_, nullptr);
    }

   private:
    void finish(const ApiReply& reply) {
      if (answered_.exchange(true)) return;
      if (!cancelled_) send(reply, true);
    }
    // Made into bytes, and counted, where it is said; sent on the loop.
    void send(const ApiReply& reply, bool last) {
      auto connection = connection_.lock();
      if (!connection) return;
      auto frame = serialise_frame(kApiReplyFrame, encode(reply));
      const bool fits = connection->count_unsent(frame.size());
      if (!fits) cancelled_ = true;
      asio::post(io_, [connection, fits, last, frame = std::move(frame)]() mutable {
        if (fits)
          connection->send(std::move(frame), last);
        else
          connection->overflow();
      });
    }

    std::weak_ptr<ControlConnection> connection_;
    asio::io_context& io_;
    std::atomic<bool> answered_{false};
    std::atomic<bool> cancelled_{false};
    std::function<void()> cancel_;
  };

 private:
  void read_more() {
    if (closed_ || reading_ || reader_.bytes_held() >= kReadAheadBytesMax) return;
    reading_ = true;
    socket_.async_read_some(asio::buffer(piece_),
                            [self = shared_from_this()](AsioError error, std::size_t n) {
                              self->reading_ = false;
                              if (error) return self->close();
                              self->reader_.add(std::as_bytes(std::span(self->piece_.data(), n)));
                              self->take_request();
                              self->read_more();
                            });
  }

  void take_request() {
    if (closed_ || busy_) return;
    Frame frame;
    auto whole = reader_.take(frame);
    if (!whole) return garbage(whole.error());
    if (!*whole) return;
    auto request = decode_request(frame.payload);
    if (!request) return garbage(request.error());
    busy_ = true;
    idle_.cancel();
    run(std::move(*request));
  }

  void garbage(const Error& why) {
    log_debug("control socket: closed pid {} uid {}: {}", caller_->pid, caller_->uid,
              why.message());
    close();
  }

  void run(ApiRequest request) {
    auto responder = std::make_shared<Request>(weak_from_this(), server_->io);
    request_ = responder;
    const Op* op = request.op.size() <= kOpNameBytesMax ? server_->find(request.op) : nullptr;
    if (op == nullptr)
      return responder->error(
          Error(ErrorCode::kUsage,
                "ssid does not know the request '" + request.op.substr(0, kOpNameBytesMax) + "'"));
    auto args = parse_args(request.args_json);
    if (!args) return responder->error(args.error());
    call_op(server_->io, server_->gate, *op, caller_, std::move(*args), responder);
  }

  // Any thread: false if it is too much. One answer is never too much, however long.
  bool count_unsent(std::size_t bytes) {
    return unsent_bytes_.fetch_add(bytes) < server_->options.unsent_bytes_max;
  }

  void overflow() {
    if (closed_) return;
    log_warning("control socket: closed pid {} uid {}: it does not read its answers", caller_->pid,
                caller_->uid);
    close();
  }

  void send(std::vector<std::byte> frame, bool last) {
    if (closed_) return;
    unsent_.push_back(std::move(frame));
    write_next();
    if (!last) return;
    busy_ = false;
    request_.reset();
    restart_idle();
    take_request();
    read_more();
  }

  void write_next() {
    if (closed_ || writing_ || unsent_.empty()) return;
    writing_ = true;
    asio::async_write(socket_, asio::buffer(unsent_.front()),
                      [self = shared_from_this()](AsioError error, std::size_t) {
                        self->writing_ = false;
                        self->unsent_bytes_ -= self->unsent_.front().size();
                        self->unsent_.pop_front();
                        if (error) return self->close();
                        if (self->unsent_.empty() && !self->busy_) self->restart_idle();
                        self->write_next();
                      });
  }

  // Not for bytes of a request: one that trickles in is as idle as none.
  void restart_idle() {
    idle_.expires_after(std::chrono::milliseconds(server_->options.idle_ms_max));
    idle_.async_wait([weak = weak_from_this()](AsioError error) {
      auto self = weak.lock();
      if (!error && self && !self->busy_) self->close();
    });
  }

  std::shared_ptr<ControlServer::Impl> server_;
  Stream::socket socket_;
  std::shared_ptr<const Caller> caller_;
  FrameReader reader_;
  asio::steady_timer idle_;
  std::array<char, kPieceBytes> piece_;
  std::weak_ptr<Request> request_;
  std::deque<std::vector<std::byte>> unsent_;
  std::atomic<std::size_t> unsent_bytes_{0};  // made, not yet sent
  bool reading_ = false;
  bool writing_ = false;
  bool busy_ = false;
  bool closed_ = false;
};

void ControlServer::Impl::accept_next() {
  if (!acceptor.is_open()) return;
  acceptor.async_accept([weak = weak_from_this()](AsioError error, Stream::socket socket) {
    auto self = weak.lock();
    if (!self || !self->acceptor.is_open()) return;
    if (!error) {
      self->admit(std::move(socket));
      return self->accept_next();
    }
    // Out of descriptors: not again at once.
    self->pause.expires_after(kAcceptPause);
    self->pause.async_wait([weak](AsioError cancelled) {
      auto later = weak.lock();
      if (!cancelled && later) later->accept_next();
    });
  });
}

void ControlServer::Impl::admit(Stream::socket socket) {
  auto caller = caller_of(socket.native_handle());
  if (!caller) return;
  const int total = static_cast<int>(connections.size());
  int& own = connections_of[caller->uid];
  const bool full = caller->uid == 0
                        ? total >= options.connections_max
                        : own >= options.connections_max_per_uid ||
                              total >= options.connections_max - options.connections_kept_for_root;
  if (full) {
    log_debug("control socket: too many connections, closed pid {} uid {}", caller->pid,
              caller->uid);
    if (own == 0) connections_of.erase(caller->uid);
    return;
  }
  ++own;
  auto connection = std::make_shared<ControlConnection>(
      shared_from_this(), std::move(socket), std::make_shared<const Caller>(std::move(*caller)));
  connections.insert(connection);
  connection->start();
}

void ControlServer::Impl::forget(const std::shared_ptr<ControlConnection>& connection, uid_t uid) {
  if (connections.erase(connection) == 0) return;
  const auto own = connections_of.find(uid);
  if (--own->second == 0) connections_of.erase(own);
}

void ControlServer::Impl::close() {
  AsioError ignored;
  acceptor.close(ignored);
  pause.cancel();
  const auto open = connections;
  for (const auto& connection : open) connection->close();
  listener.reset();
}

Result<std::unique_ptr<ControlServer>> ControlServer::start(asio::io_context& io, Options options,
                                                            OpTable table, OpGate gate) {
  SSI_CHECK(gate.owner_of && gate.has_quorum);
  auto impl = std::make_shared<Impl>(io, std::move(options), std::move(gate));
  for (Op& op : table) {
    SSI_CHECK(op.handler && op.name.size() <= kOpNameBytesMax);
    const std::string name = op.name;
    SSI_CHECK(impl->ops.emplace(name, std::move(op)).second);
  }
  SSI_ASSIGN(UnixListener listener,
             UnixListener::listen(impl->options.path, UnixType::kStream, impl->options.mode));
  // Asio closes its descriptor, so it gets one of its own; the listener keeps the path.
  UniqueFd copy(::fcntl(listener.fd(), F_DUPFD_CLOEXEC, 0));
  if (!copy) return Error::from_errno("duplicate the control socket");
  AsioError error;
  impl->acceptor.assign(Stream(), *copy, error);
  if (error) return Error("control socket: " + error.message());
  (void)copy.release();
  impl->listener = std::move(listener);
  impl->accept_next();
  return std::unique_ptr<ControlServer>(new ControlServer(std::move(impl)));
}

ControlServer::ControlServer(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
ControlServer::~ControlServer() { impl_->close(); }
std::size_t ControlServer::connections() const { return impl_->connections.size(); }

}  // namespace ssi
