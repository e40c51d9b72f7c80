// ssid's side of a realm: a blocking connection for a mover's thread. Each mover opens its own.
#pragma once

#include <sys/types.h>

#include <optional>
#include <span>
#include <string>

#include "migrate/realm/realm_protocol.h"
#include "ssid/base/result.h"
#include "ssid/base/unique_fd.h"

namespace ssi::migrate {

class RealmClient {
 public:
  static Result<RealmClient> connect(const std::string& socket_path);

  // Sends `request` with `fds` and waits for its reply; the reply's error becomes an Error.
  Result<RealmMessage> call(RealmOp op, pid_t pid = 0, int value = 0,
                            std::span<const int> fds = {});

  // The realm's network namespace.
  Result<UniqueFd> network();
  // The realm's /dev/shm.
  Result<UniqueFd> shared_memory();

  // For the control loop: after subscribe(), messages come by receive() when fd() is readable.
  Result<> subscribe();
  // nullopt: nothing there now. An error: the realm is gone.
  Result<std::optional<RealmMessage>> receive_now();
  int fd() const { return *socket_; }

 private:
  explicit RealmClient(UniqueFd socket) : socket_(std::move(socket)) {}
  Result<UniqueFd> open(RealmOp op);
  Result<> send(RealmOp op, pid_t pid, int value, std::span<const int> fds);

  UniqueFd socket_;
};

}  // namespace ssi::migrate
