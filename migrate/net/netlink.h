// libnl's objects as owned ones, its errors as ours.
#pragma once

#include <memory>
#include <string>

#include "ssid/base/result.h"

struct nl_addr;
struct nl_sock;

namespace ssi::net {

template <auto F>
struct Freed {
  template <typename T>
  void operator()(T* p) const {
    F(p);
  }
};

// A netlink socket stays in the network namespace in which it was opened.
class RouteSocket {
 public:
  static Result<RouteSocket> open();
  nl_sock* get() const { return socket_.get(); }

 private:
  struct Free {
    void operator()(nl_sock* s) const;
  };
  std::unique_ptr<nl_sock, Free> socket_;
};

struct FreeAddress {
  void operator()(nl_addr* a) const;
};
using Address = std::unique_ptr<nl_addr, FreeAddress>;
// "10.77.0.1", "fd00::1/64", or the address of a device.
Result<Address> parse_address(const std::string& text);

Result<> done(int code, const std::string& what);
// Done, too, if it was there before.
Result<> added(int code, const std::string& what);

}  // namespace ssi::net
