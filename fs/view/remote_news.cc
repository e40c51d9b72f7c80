// What home is told some time, without anybody waiting for it: nodes that the kernel has forgotten,
// handles and locks that came to an end while home was out of reach.
#include <cerrno>
#include <vector>

#include "fs/view/remote.h"

namespace ssi::fs {

void Remote::forget(std::uint64_t serial, std::uint64_t id, std::uint64_t lookups) {
  std::lock_guard lock(mutex_);
  if (serial == 0 || lookups == 0 || serial != serial_) return;
  forgotten_.push_back({serial, {id, lookups}});
}

bool Remote::has_forgets() const {
  std::lock_guard lock(mutex_);
  return !forgotten_.empty() || !ends_.empty();
}

void Remote::tell_later(const Request& request, const LockBody& body) {
  std::lock_guard lock(mutex_);
  if (request.session == serial_) ends_.emplace_back(request, body);
}

void Remote::tell_ends() {
  std::vector<std::pair<Request, LockBody>> ends;
  {
    std::lock_guard lock(mutex_);
    ends.swap(ends_);
  }
  for (const auto& [request, body] : ends) {
    const auto* bytes = reinterpret_cast<const std::uint8_t*>(&body);
    Reply reply;
    const int error = request.op == Op::kRelease
                          ? call(request, {}, reply)
                          : call(request, {ByteSpan(bytes, sizeof body)}, reply);
    if (error == EHOSTDOWN) tell_later(request, body);
  }
}

void Remote::send_forgets() {
  if (out_of_reach()) return;
  tell_ends();
  std::vector<Forgotten> forgotten;
  {
    std::lock_guard lock(mutex_);
    forgotten.swap(forgotten_);
  }
  std::vector<ForgetBody> bodies;
  for (std::size_t at = 0; at < forgotten.size();) {
    bodies.clear();
    const std::uint64_t serial = forgotten[at].serial;
    for (; at < forgotten.size() && forgotten[at].serial == serial && bodies.size() < 4096; ++at) {
      bodies.push_back(forgotten[at].body);
    }
    {
      std::lock_guard lock(mutex_);
      if (serial != serial_) continue;  // that store is gone, and with it what it knew
    }
    Reply reply;
    Request request;
    request.op = Op::kForget;
    const ByteSpan bytes{reinterpret_cast<const std::uint8_t*>(bodies.data()),
                         bodies.size() * sizeof(ForgetBody)};
    const int error = call(request, {bytes}, reply);
    if (error == EIO) return;
    if (error != EHOSTDOWN) continue;
    std::lock_guard lock(mutex_);
    for (const ForgetBody& body : bodies) forgotten_.push_back({serial, body});
  }
}

}  // namespace ssi::fs
