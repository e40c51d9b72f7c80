#include "migrate/net/hold_device.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <vector>

#include "migrate/net/tunnel.h"

namespace ssi::net {
namespace {
constexpr const char* kDevice = "ssid-hold";
constexpr int kPacketsMax = 20000;
constexpr std::size_t kPacketBytesMax = 65536;
}  // namespace

Result<HoldDevice> HoldDevice::open() {
  UniqueFd fd(::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC));
  if (!fd) return Error::from_errno("/dev/net/tun");
  ifreq request{};
  std::strncpy(request.ifr_name, kDevice, sizeof request.ifr_name - 1);
  request.ifr_flags = IFF_TUN | IFF_NO_PI;
  if (::ioctl(*fd, TUNSETIFF, &request) != 0) return Error::from_errno(kDevice);
  UniqueFd any(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  request.ifr_qlen = kPacketsMax;
  if (::ioctl(*any, SIOCSIFTXQLEN, &request) != 0) return Error::from_errno(kDevice);
  request.ifr_mtu = kPacketBytesMax - 1;
  if (::ioctl(*any, SIOCSIFMTU, &request) != 0) return Error::from_errno(kDevice);
  SSI_TRY(route_held_to(kDevice));
  return HoldDevice(std::move(fd));
}

Result<> HoldDevice::release(const Keep& keep) {
  // Read first, then written: a packet that has to wait on is not met twice.
  std::vector<std::vector<std::uint8_t>> waiting;
  std::vector<std::uint8_t> packet(kPacketBytesMax);
  for (;;) {
    const ssize_t n = ::read(*fd_, packet.data(), packet.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    const std::span<const std::uint8_t> bytes(packet.data(), static_cast<std::size_t>(n));
    if (keep(bytes)) waiting.emplace_back(bytes.begin(), bytes.end());
  }
  std::size_t lost = 0;
  for (const auto& p : waiting) {
    if (::write(*fd_, p.data(), p.size()) < 0) ++lost;
  }
  if (lost > 0) return Error("held packets lost: " + std::to_string(lost));
  return {};
}

}  // namespace ssi::net
