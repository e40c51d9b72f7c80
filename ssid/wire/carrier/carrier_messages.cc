#include "ssid/wire/carrier/carrier_messages.h"

#include <cstring>
#include <type_traits>

namespace ssi {
namespace {

class Writer {
 public:
  explicit Writer(CarrierBytes& out) : out_(out) {}
  template <typename T>
  requires std::is_integral_v<T> || std::is_enum_v<T>
  void operator()(const T& value) { append(&value, sizeof(value)); }
  void operator()(const std::string& text) {
    (*this)(static_cast<std::uint32_t>(text.size()));
    append(text.data(), text.size());
  }
  template <typename T>
  void operator()(const std::vector<T>& list);
  template <typename T>
  requires std::is_class_v<T>
  void operator()(const T& message);

 private:
  void append(const void* bytes, std::size_t size) {
    if (size == 0) return;
    const std::size_t at = out_.size();
    out_.resize(at + size);
    std::memcpy(out_.data() + at, bytes, size);
  }

  CarrierBytes& out_;
};

class Reader {
 public:
  explicit Reader(std::span<const std::byte> bytes) : rest_(bytes) {}
  bool done() const { return ok_ && rest_.empty(); }
  std::span<const std::byte> rest() const { return rest_; }
  bool ok() const { return ok_; }

  template <typename T>
  requires(std::is_integral_v<T> || std::is_enum_v<T>) &&
      (!std::is_same_v<T, bool>)void operator()(T& value) {
    if (rest_.size() < sizeof(value)) {
      ok_ = false;
      return;
    }
    std::memcpy(&value, rest_.data(), sizeof(value));
    rest_ = rest_.subspan(sizeof(value));
  }
  void operator()(bool& value) {
    std::uint8_t byte = 0;
    (*this)(byte);
    if (byte > 1) ok_ = false;
    value = byte == 1;
  }
  void operator()(std::string& text) {
    std::uint32_t size = 0;
    (*this)(size);
    if (!ok_ || size > rest_.size()) {
      ok_ = false;
      return;
    }
    text.assign(reinterpret_cast<const char*>(rest_.data()), size);
    rest_ = rest_.subspan(size);
  }
  template <typename T>
  void operator()(std::vector<T>& list);
  template <typename T>
  requires std::is_class_v<T>
  void operator()(T& message);

 private:
  std::span<const std::byte> rest_;
  bool ok_ = true;
};

// One list of fields per message, for both ways.
template <typename Io>
void fields(Io& io, CarrierPeer& m) {
  io(m.node);
  io(m.addresses);
  io(m.port);
}
template <typename Io>
void fields(Io& io, MountView& m) {
  io(m.home);
  io(m.mountpoint);
}
template <typename Io>
void fields(Io& io, NodeView& m) {
  io(m.node);
  io(m.up);
}
template <typename Io>
void fields(Io& io, ShowNodes& m) {
  io(m.directory);
  io(m.nodes);
}
template <typename Io>
void fields(Io& io, UnmountView& m) {
  io(m.mountpoint);
  io(m.force);
}
template <typename Io>
void fields(Io& io, RebuildSockets& m) {
  io(m.mountpoint);
  io(m.cgroup);
  io(m.on);
}
template <typename Io>
void fields(Io& io, TellWatchers& m) {
  io(m.mountpoint);
  io(m.pid);
}
template <typename Io>
void fields(Io& io, ViewInfo& m) {
  io(m.home_node);
  io(m.mountpoint);
  io(m.device);
  io(m.connected);
}
template <typename Io>
void fields(Io& io, ExportStream& m) {
  io(m.id);
  io(m.direction);
}
template <typename Io>
void fields(Io& io, AttachStream& m) {
  io(m.id);
  io(m.generation);
  io(m.direction);
  io(m.capacity);
  io(m.home);
  io(m.on_demand);
  io(m.terminal);
  io(m.socket);
  io(m.peer_uid);
  io(m.peer_gid);
  io(m.socket_type);
}
template <typename Io>
void fields(Io& io, StartStream& m) {
  io(m.id);
  io(m.socket);
}
template <typename Io>
void fields(Io& io, DemandStream& m) {
  io(m.id);
  io(m.bytes);
}
template <typename Io>
void fields(Io& io, DrainStream& m) {
  io(m.id);
  io(m.timeout_ms);
  io(m.written);
  io(m.datagrams);
}
template <typename Io>
void fields(Io& io, DetachStream& m) {
  io(m.id);
  io(m.generation);
}
template <typename Io>
void fields(Io& io, StreamRef& m) {
  io(m.id);
  io(m.timeout_ms);
}
template <typename Io>
void fields(Io& io, AttachListener& m) {
  io(m.id);
  io(m.generation);
  io(m.home);
  io(m.address);
  io(m.root);
  io(m.gives_itself);
  io(m.carried);
  io(m.socket_type);
}
template <typename Io>
void fields(Io& io, AcceptedConnection& m) {
  io(m.out);
  io(m.in);
  io(m.peer_uid);
  io(m.peer_gid);
  io(m.inode);
}
template <typename Io>
void fields(Io& io, AcceptedConnections& m) {
  io(m.connections);
}
template <typename Io>
void fields(Io& io, HoldLocksOf& m) {
  io(m.pid);
  io(m.number);
  io(m.ranges);
}
template <typename Io>
void fields(Io& io, HeldFileRef& m) {
  io(m.id);
}
template <typename Io>
void fields(Io& io, std::pair<std::string, std::uint64_t>& m) {
  io(m.first);
  io(m.second);
}
template <typename Io>
void fields(Io& io, CarrierStats& m) {
  io(m.counters);
}
template <typename Io>
void fields(Io& io, ViewList& m) {
  io(m.views);
}

template <typename T>
void Writer::operator()(const std::vector<T>& list) {
  (*this)(static_cast<std::uint32_t>(list.size()));
  for (const T& item : list) (*this)(item);
}
template <typename T>
requires std::is_class_v<T>
void Writer::operator()(const T& message) { fields(*this, const_cast<T&>(message)); }
template <typename T>
void Reader::operator()(std::vector<T>& list) {
  std::uint32_t size = 0;
  (*this)(size);
  list.clear();
  for (std::uint32_t i = 0; i < size && ok_; ++i) {
    T item{};
    (*this)(item);
    list.push_back(std::move(item));
  }
}
template <typename T>
requires std::is_class_v<T>
void Reader::operator()(T& message) { fields(*this, message); }

}  // namespace

template <typename T>
CarrierBytes encode_request(CarrierOp op, const T& message) {
  CarrierBytes bytes;
  Writer write(bytes);
  write(op);
  write(message);
  return bytes;
}

CarrierBytes encode_request(CarrierOp op) {
  CarrierBytes bytes;
  Writer{bytes}(op);
  return bytes;
}

Result<CarrierOp> decode_op(std::span<const std::byte> request, std::span<const std::byte>& rest) {
  Reader read(request);
  CarrierOp op{};
  read(op);
  if (!read.ok()) return Error("invalid request");
  rest = read.rest();
  return op;
}

template <typename T>
Result<T> decode_message(std::span<const std::byte> bytes) {
  Reader read(bytes);
  T message{};
  read(message);
  if (!read.done()) return Error("invalid message");
  return message;
}

CarrierBytes encode_error(const Error& error) {
  CarrierBytes bytes;
  Writer write(bytes);
  write(static_cast<std::uint32_t>(error.code()) + 1);
  write(error.message());
  return bytes;
}

CarrierBytes encode_ok() {
  CarrierBytes bytes;
  Writer write(bytes);
  write(std::uint32_t{0});
  write(std::string());
  return bytes;
}

template <typename T>
CarrierBytes encode_ok(const T& answer) {
  CarrierBytes bytes = encode_ok();
  Writer{bytes}(answer);
  return bytes;
}

Result<std::span<const std::byte>> decode_carrier_reply(std::span<const std::byte> reply) {
  Reader read(reply);
  std::uint32_t code = 0;
  std::string message;
  read(code);
  read(message);
  if (!read.ok()) return Error("invalid reply");
  if (code != 0) {
    const auto last = static_cast<std::uint32_t>(kErrorCodeMax);
    return Error(code - 1 <= last ? static_cast<ErrorCode>(code - 1) : ErrorCode::kFailed, message);
  }
  return read.rest();
}

#define SSI_CARRIER_MESSAGE(T)                                      \
  template CarrierBytes encode_request<T>(CarrierOp, const T&);     \
  template Result<T> decode_message<T>(std::span<const std::byte>); \
  template CarrierBytes encode_ok<T>(const T&);
SSI_CARRIER_MESSAGE(MountView)
SSI_CARRIER_MESSAGE(ShowNodes)
SSI_CARRIER_MESSAGE(UnmountView)
SSI_CARRIER_MESSAGE(RebuildSockets)
SSI_CARRIER_MESSAGE(TellWatchers)
SSI_CARRIER_MESSAGE(ExportStream)
SSI_CARRIER_MESSAGE(AttachStream)
SSI_CARRIER_MESSAGE(DrainStream)
SSI_CARRIER_MESSAGE(StartStream)
SSI_CARRIER_MESSAGE(DemandStream)
SSI_CARRIER_MESSAGE(DetachStream)
SSI_CARRIER_MESSAGE(StreamRef)
SSI_CARRIER_MESSAGE(AttachListener)
SSI_CARRIER_MESSAGE(AcceptedConnections)
SSI_CARRIER_MESSAGE(HoldLocksOf)
SSI_CARRIER_MESSAGE(HeldFileRef)
SSI_CARRIER_MESSAGE(CarrierStats)
SSI_CARRIER_MESSAGE(ViewList)
#undef SSI_CARRIER_MESSAGE

}  // namespace ssi
