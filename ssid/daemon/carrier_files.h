// The movers' FilePort, spoken to this node's carrier and to the views that it has mounted.
// Thread-safe.
#pragma once

#include <functional>
#include <string>

#include "migrate/fds/held_file.h"
#include "ssid/base/ids.h"

namespace ssi {

class CarrierFiles : public fds::FilePort {
 public:
  // Where `home`'s files are mounted here.
  using RootOf = std::function<std::string(NodeId home)>;
  // A process in the mounts of the realm of `home`, in our /proc.
  using RealmInit = std::function<Result<pid_t>(NodeId home)>;

  CarrierFiles(NodeId self, RootOf root_of, RealmInit realm_init)
      : self_(self), root_of_(std::move(root_of)), realm_init_(std::move(realm_init)) {}

  Result<std::uint64_t> hold(std::uint32_t home, int fd) override;
  Result<UniqueFd> open(std::uint32_t home, const fds::HeldFile& held) override;
  Result<std::uint64_t> leave_locks(int fd, pid_t pid, const fds::HeldFile& file) override;
  Result<std::uint64_t> hold_locks(std::uint32_t home, int fd, pid_t pid) override;
  Result<> expect_locks(std::uint32_t home, const fds::HeldFile& held) override;
  Result<> expect_opening(std::uint32_t home, const fds::HeldFile& held) override;
  void release(std::uint32_t home, const fds::HeldFile& held) override;

 private:
  const NodeId self_;
  const RootOf root_of_;
  const RealmInit realm_init_;
};

}  // namespace ssi
