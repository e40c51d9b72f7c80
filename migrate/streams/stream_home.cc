#include "migrate/streams/stream_home.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <optional>

#include "ssid/base/proc_status.h"
#include "ssid/base/process_handle.h"

namespace ssi::migrate {
namespace {

constexpr int kOwnerGoneLingerMs = 30'000;
constexpr int kLingerStepMs = 50;
// A guest's node whose connection was lost comes back within that, or it is gone.
constexpr int kAloneMsMax = 2'000;

ByteSpan bytes_of(const StreamFrame& frame) {
  return {reinterpret_cast<const std::uint8_t*>(&frame), sizeof(frame)};
}

// The process itself, or the deputy that it has become.
std::optional<ucred> identity_of(const UniqueFd& process) {
  UniqueFd second(process ? ::fcntl(*process, F_DUPFD_CLOEXEC, 0) : -1);
  if (!second) return {};
  const auto handle = ProcessHandle::from_pidfd(std::move(second));
  if (!handle) return {};
  // Real and effective.
  unsigned uid[2], gid[2];
  const auto read = [&](const char* name, unsigned(&ids)[2]) {
    return std::sscanf(proc_status_line(handle->pid(), name).c_str(), "%u %u", &ids[0], &ids[1]) ==
           2;
  };
  if (!read("Uid", uid) || !read("Gid", gid)) return {};
  return ucred{handle->pid(), uid[1], gid[1]};
}

bool is_datagram_socket(int socket) {
  int type = 0;
  socklen_t size = sizeof type;
  return ::getsockopt(socket, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_DGRAM;
}

// The process's own opening is told.
bool is_at_its_end(int fifo) {
  pollfd entry{fifo, POLLIN, 0};
  return ::poll(&entry, 1, 0) > 0 && (entry.revents & POLLHUP) != 0;
}

}  // namespace

Result<> StreamHome::export_fd(StreamId id, StreamDirection direction, UniqueFd fd,
                               UniqueFd owner) {
  const bool reads = direction == StreamDirection::kGuestReads;
  std::unique_ptr<StreamDevice> device;
  const bool terminal = ::isatty(*fd) != 0;
  if (terminal) {
    UniqueFd second(owner ? ::fcntl(*owner, F_DUPFD_CLOEXEC, 0) : -1);
    if (!second) return Error("a terminal without the process that uses it");
    SSI_ASSIGN(const auto process, ProcessHandle::from_pidfd(std::move(second)));
    device = home_terminal(process.pid());
  }
  struct stat st {};
  if (::fstat(*fd, &st) != 0) return Error::from_errno("look at a stream's descriptor");
  const bool socket = S_ISSOCK(st.st_mode);
  if (socket) device = home_socket(*fd, identity_of(owner));
  if (reads && S_ISFIFO(st.st_mode) && is_at_its_end(*fd)) device = home_fifo_at_its_end();
  const int mode = terminal ? O_RDWR : reads ? O_RDONLY : O_WRONLY;
  UniqueFd own;
  if (socket) {
    own = std::move(fd);
  } else {
    SSI_ASSIGN(own, reopen_nonblocking(*fd, mode));
  }
  const int capacity = ::fcntl(*own, F_GETPIPE_SZ);
  auto made = std::make_shared<Export>();
  made->direction = direction;
  made->datagrams = socket && is_datagram_socket(*own);
  if (owner) made->owners.push_back(std::make_shared<const UniqueFd>(std::move(owner)));
  if (reads) {
    made->source = std::make_unique<Source>(std::move(own), true, std::move(device));
  } else {
    made->sink = std::make_unique<Sink>(std::move(own),
                                        capacity > 0 ? static_cast<std::uint64_t>(capacity) : 65536,
                                        false, std::move(device));
  }
  std::lock_guard lock(mutex_);
  if (stopped_) return Error("the carrier is ending");
  if (!made->owners.empty()) SSI_TRY(watch_owners());
  if (!exports_.emplace(id, std::move(made)).second) return Error("the stream is exported already");
  if (wake_) ::eventfd_write(*wake_, 1);
  return {};
}

Result<> StreamHome::add_owner(StreamId id, UniqueFd owner) {
  std::lock_guard lock(mutex_);
  const auto exported = exports_.find(id);
  if (exported == exports_.end()) return Error(ErrorCode::kGone, "no such stream");
  exported->second->owners.push_back(std::make_shared<const UniqueFd>(std::move(owner)));
  SSI_TRY(watch_owners());
  ::eventfd_write(*wake_, 1);
  return {};
}

// mutex_ is held.
Result<> StreamHome::watch_owners() {
  if (wake_) return {};
  wake_ = UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake_) return Error::from_errno("eventfd");
  watching_ = std::thread([this] { close_ownerless(); });
  return {};
}

void StreamHome::close_ownerless() {
  for (;;) {
    std::vector<pollfd> polled{{*wake_, POLLIN, 0}};
    std::vector<std::pair<StreamId, std::shared_ptr<const UniqueFd>>> owned;
    {
      std::lock_guard lock(mutex_);
      if (stopped_) return;
      for (const auto& [id, exported] : exports_) {
        for (const auto& owner : exported->owners) {
          polled.push_back({**owner, POLLIN, 0});
          owned.emplace_back(id, owner);
        }
      }
    }
    if (::poll(polled.data(), polled.size(), -1) < 0) continue;
    eventfd_t count;
    (void)::eventfd_read(*wake_, &count);
    for (std::size_t i = 0; i < owned.size(); ++i) {
      if (polled[i + 1].revents != 0) owner_ended(owned[i].first, owned[i].second);
    }
  }
}

void StreamHome::owner_ended(StreamId id, const std::shared_ptr<const UniqueFd>& owner) {
  {
    std::lock_guard lock(mutex_);
    const auto exported = exports_.find(id);
    if (exported == exports_.end()) return;
    std::erase(exported->second->owners, owner);
    if (!exported->second->owners.empty()) return;
  }
  (void)close(id, kOwnerGoneLingerMs);
}

std::shared_ptr<StreamHome::Export> StreamHome::find(StreamId id) const {
  std::lock_guard lock(mutex_);
  const auto it = exports_.find(id);
  return it == exports_.end() ? nullptr : it->second;
}

Result<UniqueFd> StreamHome::duplicate(StreamId id) const {
  const auto exported = find(id);
  if (!exported || !exported->datagrams) return Error(ErrorCode::kGone, "no such socket");
  return exported->source->duplicate();
}

Result<> StreamHome::hand_over(StreamId id) {
  const auto exported = find(id);
  if (!exported || !exported->datagrams) return Error(ErrorCode::kGone, "no such socket");
  return close(id, 0);
}

bool StreamHome::has(StreamId id) const { return find(id) != nullptr; }

bool StreamHome::finished(StreamId id) const {
  const auto exported = find(id);
  if (!exported) return true;
  return exported->source ? exported->source->finished() : exported->sink->finished();
}

Result<> StreamHome::close(StreamId id, int linger_ms) {
  std::shared_ptr<Export> closed;
  std::lock_guard lock(mutex_);
  const auto it = exports_.find(id);
  if (it == exports_.end()) return Error(ErrorCode::kGone, "no such stream");
  closed = std::move(it->second);
  exports_.erase(it);
  if (!closed->sink || linger_ms <= 0) {
    closing_.start([closed] {
      std::lock_guard export_lock(closed->mutex);
      if (closed->channel) closed->channel->abort();
    });
    return {};
  }
  closing_.start([closed, linger_ms] {
    int alone_ms = 0;
    for (int waited_ms = 0; waited_ms < linger_ms; waited_ms += kLingerStepMs) {
      if (closed->sink->wait_finished(kLingerStepMs)) break;
      std::lock_guard export_lock(closed->mutex);
      alone_ms = closed->channel ? 0 : alone_ms + kLingerStepMs;
      if (closed->generation == 0 || alone_ms >= kAloneMsMax) break;
    }
    std::lock_guard export_lock(closed->mutex);
    if (closed->channel) closed->channel->abort();
  });
  return {};
}

void StreamHome::serve(StreamChannel channel) {
  FrameBuffer buffer;
  if (!channel->recv(buffer).ok()) return;
  ByteReader reader(buffer.span());
  const auto attach = reader.get<StreamFrame>();
  if (!reader.done() || attach.type != StreamFrameType::kAttach) return;

  StreamFrame answer{.type = StreamFrameType::kAttached};
  const auto found = find(attach.a);
  if (!found) {
    answer.b = ENOENT;
    (void)channel->send({bytes_of(answer)}).ok();
    return;
  }
  StreamEnd& end = found->source ? static_cast<StreamEnd&>(*found->source) : *found->sink;
  {
    std::lock_guard lock(found->mutex);
    const bool claims = (attach.flags & StreamFrame::kClaim) != 0;
    if (found->called_off.contains(attach.d) || (attach.b < found->generation && !claims)) {
      answer.b = ESTALE;  // the guest has moved on from there, or never came there
    } else {
      if (attach.b < found->generation) found->called_off.insert(found->holder);
      found->holder = attach.d;
      if (found->channel) found->channel->abort();
      found->generation = attach.b;
      found->channel = channel;
      if (found->sink) {
        answer.a = found->sink->received(attach.c);
      } else {
        answer.a = attach.c == StreamFrame::kFromHome ? found->source->base() : attach.c;
      }
    }
    // Under the lock: two connections must come into use in the order in which they were answered.
    if (!channel->send({bytes_of(answer)}).ok() || answer.b != 0) return;
    end.connect(channel, answer.a);
  }
  while (channel->recv(buffer).ok()) {
    ByteReader frame_reader(buffer.span());
    const auto frame = frame_reader.get<StreamFrame>();
    if (!frame_reader.ok() || !end.on_frame(channel.get(), frame, frame_reader.rest())) break;
  }
  channel->abort();
  end.disconnect(channel.get());
  std::lock_guard lock(found->mutex);
  if (found->channel == channel) found->channel.reset();
}

void StreamHome::stop() {
  std::map<StreamId, std::shared_ptr<Export>> exports;
  {
    std::lock_guard lock(mutex_);
    stopped_ = true;
    exports.swap(exports_);
  }
  if (watching_.joinable()) {
    ::eventfd_write(*wake_, 1);
    watching_.join();
  }
  for (auto& [id, stopped] : exports) {
    std::lock_guard lock(stopped->mutex);
    if (stopped->channel) stopped->channel->abort();
  }
  closing_.wait();
}

std::size_t StreamHome::size() const {
  std::lock_guard lock(mutex_);
  return exports_.size();
}

}  // namespace ssi::migrate
