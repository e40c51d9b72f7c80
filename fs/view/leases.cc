#include "fs/view/leases.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>

namespace ssi::fs {
namespace {

// What a break costs who waits at home, beside the guest's own time.
constexpr std::chrono::milliseconds kLookEvery{20};
constexpr std::chrono::milliseconds kAnswerWithin{2000};  // of home

// Nothing: there is no such descriptor (any more).
std::optional<std::string> read_info(int process, int number) {
  const std::string name = "fdinfo/" + std::to_string(number);
  const UniqueFd fd(::openat(process, name.c_str(), O_RDONLY | O_CLOEXEC));
  std::string text;
  char bytes[2048];
  for (;;) {
    const ssize_t got = fd ? ::read(*fd, bytes, sizeof bytes) : -1;
    if (got < 0) return {};
    if (got == 0) return text;
    text.append(bytes, static_cast<std::size_t>(got));
  }
}

std::string inode_in(const std::string& info) {
  const std::size_t at = info.find("\nino:");
  if (at == std::string::npos) return {};
  return info.substr(at, info.find('\n', at + 1) - at);
}

}  // namespace

void Leases::watch(ViewHandle& handle, const Lease& lease, pid_t pid, int number) {
  const bool reads = (handle.flags & O_ACCMODE) == O_RDONLY;
  const std::uint32_t known = lease.breaking == 0 ? lease.type : reads ? F_RDLCK : F_WRLCK;
  add(handle, pid, number, known, lease.breaking != 0);
}

void Leases::heed(ViewHandle& handle, pid_t pid, int number) {
  if (find(handle)) return;
  look_at(*add(handle, pid, number, F_UNLCK, false));
}

Leases::WatchedPtr Leases::find(const ViewHandle& handle) {
  std::lock_guard lock(mutex_);
  const auto found = std::ranges::find(leases_, &handle, [](const WatchedPtr& lease) {
    return static_cast<const ViewHandle*>(lease->handle);
  });
  return found == leases_.end() ? nullptr : *found;
}

Leases::WatchedPtr Leases::add(ViewHandle& handle, pid_t pid, int number, std::uint32_t known,
                               bool told) {
  auto watched = std::make_shared<Watched>();
  watched->handle = &handle;
  watched->node = handle.node.get();
  const std::string path = "/proc/" + std::to_string(pid);
  watched->process.reset(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  watched->number = number;
  if (const auto info = read_info(*watched->process, number)) watched->inode = inode_in(*info);
  watched->known = known;
  watched->told = told;
  std::lock_guard lock(mutex_);
  std::erase_if(leases_, [&](const WatchedPtr& other) { return other->handle == &handle; });
  leases_.push_back(watched);
  if (!thread_.joinable() && !stop_) thread_ = std::thread([this] { run(); });
  wake_.notify_all();
  return watched;
}

void Leases::forget(const ViewHandle* handle) {
  std::lock_guard lock(mutex_);
  for (const WatchedPtr& lease : leases_) {
    if (lease->handle == handle) lease->handle = nullptr;
  }
  std::erase_if(leases_, [](const WatchedPtr& lease) { return lease->handle == nullptr; });
}

bool Leases::is_at_home(const ViewHandle& handle) {
  const WatchedPtr lease = find(handle);
  if (!lease) return false;
  const std::unique_lock looking(lease->looking, kAnswerWithin);
  return looking.owns_lock() && lease->known != F_UNLCK;
}

bool Leases::has_any(const ViewNode& node) {
  std::lock_guard lock(mutex_);
  return std::ranges::any_of(leases_,
                             [&](const WatchedPtr& lease) { return lease->node == &node; });
}

void Leases::stop() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void Leases::run() {
  thread_id_ = ::gettid();
  std::unique_lock lock(mutex_);
  while (!stop_) {
    if (leases_.empty()) {
      wake_.wait(lock, [&] { return stop_ || !leases_.empty(); });
      continue;
    }
    const auto leases = leases_;
    lock.unlock();
    for (const WatchedPtr& lease : leases) look_at(*lease);
    lock.lock();
    wake_.wait_for(lock, kLookEvery, [&] { return stop_; });
  }
}

void Leases::look_at(Watched& lease) {
  std::lock_guard looking(lease.looking);
  const auto info = read_info(*lease.process, lease.number);
  if (!info || inode_in(*info) != lease.inode) return;
  LeaseSides sides{lease.known, parse_lease(*info), {}, lease.told};
  if (sides.known == F_UNLCK && !sides.guest.any()) return;
  if (!ask_home(lease, {}, sides.home)) return;
  const LeaseStep step = next_lease_step(sides);
  const LeaseBody wanted{step.type, 0, 1, 0};
  Lease told;
  switch (step.what) {
    case LeaseStep::What::kNothing:
      if (!sides.told && sides.guest == sides.home) lease.known = sides.guest.type;
      break;
    case LeaseStep::What::kBreakGuests:
      break_guests(lease, step.type);
      break;
    case LeaseStep::What::kSetHomes:
      if (ask_home(lease, wanted, told)) {
        lease.known = step.type;
        lease.told = false;
      }
      break;
    case LeaseStep::What::kTakeAtHome:
      if (!ask_home(lease, wanted, told)) break;
      if (told == Lease{step.type, 0}) {
        lease.known = step.type;
      } else {
        break_guests(lease, told.type);
      }
      break;
  }
}

// False: home can't be asked now. A home that knows nothing of it has no lease.
bool Leases::ask_home(Watched& lease, const LeaseBody& body, Lease& told) {
  Remote::Request request;
  request.op = Op::kLease;
  {
    std::lock_guard lock(mutex_);
    if (lease.handle == nullptr) return false;
    std::lock_guard handle_lock(lease.handle->mutex);
    request.session = lease.handle->store_serial;
    request.handle_id = lease.handle->store_id;
  }
  Remote::Reply reply;
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(&body);
  const int error = remote_.call(request, {ByteSpan(bytes, sizeof body)}, reply);
  if (error == EIO || error == EHOSTDOWN) return false;
  told = {};
  if (error != 0) return true;
  ByteReader reader = reply.reader();
  const auto answer = reader.get<LeaseBody>();
  if (reader.done()) told = {answer.type, answer.breaking};
  return reader.done();
}

void Leases::break_guests(Watched& lease, std::uint32_t type) {
  const int access = type == F_RDLCK ? O_RDONLY : O_WRONLY;
  const std::string name = "fd/" + std::to_string(lease.number);
  const UniqueFd refused(
      ::openat(*lease.process, name.c_str(), access | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  if (!refused && errno == EWOULDBLOCK) lease.told = true;
}

}  // namespace ssi::fs
