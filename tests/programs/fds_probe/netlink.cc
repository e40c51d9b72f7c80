// Sockets to the kernel.
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <string>

#include "tests/programs/fds_probe/kind.h"
#include "tests/programs/fds_probe/kinds.h"

namespace fds_probe {
namespace {

// Asks the kernel for its network devices, by a socket that keeps its number.
class Netlink : public Kind {
 public:
  explicit Netlink(const std::string&)
      : fd_(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE)) {
    ask(1);
    port_ = port();
    expect(port_ != 0, "it has a number");
  }
  void round(Number n) override {
    expect(port() == port_, "another number");
    if (n % 8 == 0) ask(static_cast<unsigned>(n));
  }

 private:
  unsigned port() const {
    sockaddr_nl address{};
    socklen_t size = sizeof address;
    expect(::getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size) == 0, "getsockname");
    return address.nl_pid;
  }
  void ask(unsigned sequence) const {
    struct {
      nlmsghdr head;
      rtgenmsg body;
    } request{};
    request.head.nlmsg_len = sizeof request;
    request.head.nlmsg_type = RTM_GETLINK;
    request.head.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    request.head.nlmsg_seq = sequence;
    expect(::send(fd_, &request, sizeof request, 0) == sizeof request, "ask");
    alignas(nlmsghdr) char answer[64 << 10];
    for (bool last = false; !last;) {
      const ssize_t size = ::recv(fd_, answer, sizeof answer, MSG_DONTWAIT);
      expect(size > 0, "no answer");
      auto left = static_cast<unsigned>(size);
      const auto* head = reinterpret_cast<const nlmsghdr*>(answer);
      for (; NLMSG_OK(head, left) && !last; head = NLMSG_NEXT(head, left)) {
        expect(head->nlmsg_seq == sequence && head->nlmsg_type != NLMSG_ERROR, "another answer");
        expect(port_ == 0 || head->nlmsg_pid == port_, "to somebody else");
        last = head->nlmsg_type == NLMSG_DONE;
      }
    }
  }
  int fd_;
  unsigned port_ = 0;
};

}  // namespace

void add_netlink_kinds(Makers& makers) { makers["netlink"] = make<Netlink>(); }

}  // namespace fds_probe
