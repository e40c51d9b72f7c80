#include "migrate/fds/socket_link.h"

#include <doctest/doctest.h>

using namespace ssi;

TEST_CASE("what a socket is called names its inode, and nothing else does") {
  CHECK_EQ(fds::socket_link(4242), "socket:[4242]");
  CHECK_EQ(fds::socket_inode(fds::socket_link(~std::uint64_t{0})), ~std::uint64_t{0});
  for (const char* other : {"", "socket:[", "socket:[]", "socket:[12", "socket:[12]3", "socket:[x]",
                            "pipe:[12]", "socket:[99999999999999999999]"}) {
    CHECK_MESSAGE(!fds::socket_inode(other), other);
  }
}
