#include "loadlevel/list/exec_watch.h"

#include <fcntl.h>
#include <sys/fanotify.h>
#include <unistd.h>

#include <climits>

namespace ssi {
namespace {

std::string name_of(int fd) {
  char target[PATH_MAX];
  const std::string link = "/proc/self/fd/" + std::to_string(fd);
  const ssize_t size = ::readlink(link.c_str(), target, sizeof target);
  return size > 0 ? std::string(target, static_cast<std::size_t>(size)) : std::string();
}

}  // namespace

Result<ExecWatch> ExecWatch::open() {
  UniqueFd fd(::fanotify_init(FAN_CLASS_NOTIF | FAN_CLOEXEC | FAN_NONBLOCK,
                              O_RDONLY | O_CLOEXEC | O_LARGEFILE));
  if (!fd) return Error::from_errno("fanotify_init");
  return ExecWatch(std::move(fd));
}

void ExecWatch::watch(const std::set<std::string>& programs) {
  (void)::fanotify_mark(*fd_, FAN_MARK_FLUSH, 0, AT_FDCWD, nullptr);
  for (const std::string& program : programs) {
    (void)::fanotify_mark(*fd_, FAN_MARK_ADD, FAN_OPEN_EXEC, AT_FDCWD, program.c_str());
  }
}

std::vector<ExecWatch::Started> ExecWatch::take() {
  std::vector<Started> started;
  alignas(fanotify_event_metadata) char events[8192];
  const ssize_t got = ::read(*fd_, events, sizeof events);
  if (got <= 0) return started;
  auto left = static_cast<std::size_t>(got);
  const auto* event = reinterpret_cast<const fanotify_event_metadata*>(events);
  for (; FAN_EVENT_OK(event, left); event = FAN_EVENT_NEXT(event, left)) {
    const UniqueFd file(event->fd);
    // A queue that overflowed has neither; who is in another PID namespace has no PID.
    if (file && event->pid > 0) started.push_back({event->pid, name_of(*file)});
  }
  return started;
}

}  // namespace ssi
