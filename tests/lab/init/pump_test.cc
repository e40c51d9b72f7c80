#include "tests/lab/init/pump.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <string>

namespace ssi::lab {

namespace {

struct Pipe {
  Pipe() {
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);
    read_end.reset(ends[0]);
    write_end.reset(ends[1]);
  }
  UniqueFd read_end;
  UniqueFd write_end;
};

}  // namespace

TEST_CASE("a pump carries all bytes through a full pipe, then sees the end") {
  Pipe in;
  Pipe out;
  ::fcntl(*out.write_end, F_SETPIPE_SZ, 4096);
  Pump pump(*in.read_end, *out.write_end);
  std::string sent(50000, 'x');
  for (size_t i = 0; i < sent.size(); ++i) sent[i] = static_cast<char>('a' + i % 26);
  REQUIRE(::write(*in.write_end, sent.data(), sent.size()) == static_cast<ssize_t>(sent.size()));
  in.write_end.reset();
  std::string got;
  char buffer[8192];
  for (int step = 0; step < 1000 && !pump.done(); ++step) {
    pollfd one = pump.wanted();
    if (::poll(&one, 1, 0) > 0) pump.step(one.revents);
    const ssize_t size = ::read(*out.read_end, buffer, sizeof buffer);
    if (size > 0) got.append(buffer, static_cast<size_t>(size));
  }
  CHECK(pump.done());
  CHECK(got == sent);
}

TEST_CASE("a pump whose reader has gone is done") {
  Pipe in;
  Pipe out;
  Pump pump(*in.read_end, *out.write_end);
  out.read_end.reset();
  REQUIRE(::write(*in.write_end, "x", 1) == 1);
  ::signal(SIGPIPE, SIG_IGN);
  pump.step(POLLIN);
  CHECK(pump.done());
}

}  // namespace ssi::lab
