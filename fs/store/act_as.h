// What a thread of the store does while it makes a file for a guest: it belongs to the guest's user
// and group, with the guest's umask. Permissions were checked by the kernel of the guest's node,
// which knows all of its groups; so the thread keeps the right to pass them.
#pragma once

#include <cstdint>

namespace ssi::fs {

// To be called once by each thread that uses ActAs: gives it a umask of its own.
void prepare_thread_for_acting();

// A scope; for the calling thread only.
class ActAs {
 public:
  ActAs(std::uint32_t uid, std::uint32_t gid, std::uint32_t umask);
  ~ActAs();
  ActAs(const ActAs&) = delete;
  ActAs& operator=(const ActAs&) = delete;

 private:
  std::uint32_t uid_;
  std::uint32_t gid_;
};

}  // namespace ssi::fs
