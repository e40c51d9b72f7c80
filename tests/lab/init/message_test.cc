#include "tests/lab/init/message.h"

#include <doctest/doctest.h>
#include <sys/socket.h>
#include <sys/stat.h>

namespace ssi::lab {

TEST_CASE("an exec request survives the way to the node, empty arguments included") {
  ExecRequest request;
  request.tty = true;
  request.rows = 50;
  request.cols = 132;
  request.cwd = "/root";
  request.env = {"A=1", "B="};
  request.argv = {"printf", "", "x y"};
  auto fields = decode(encode(to_fields(request)));
  REQUIRE(fields);
  auto back = to_exec_request(*fields);
  REQUIRE(back);
  CHECK(back->tty);
  CHECK(back->rows == 50);
  CHECK(back->cols == 132);
  CHECK(back->cwd == "/root");
  CHECK(back->env == request.env);
  CHECK(back->argv == request.argv);
}

TEST_CASE("a bad request is refused") {
  CHECK(!decode("no end"));
  CHECK(!to_exec_request({"exec", "0", "0", "0", "/", "0"}));                 // nothing to run
  CHECK(!to_exec_request({"exec", "0", "0", "0", "/", "2", "A=1", "true"}));  // fewer than said
  CHECK(!to_exec_request({"exec", "0", "0", "0", "/", "-1", "true"}));
  CHECK(!to_exec_request({"exec", "x", "0", "0", "/", "0", "true"}));
}

TEST_CASE("descriptors travel with a message, and the end of the peer is seen") {
  int ends[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
  UniqueFd left(ends[0]);
  UniqueFd right(ends[1]);
  REQUIRE(send_message(*left, {"started", "7"}, {*left}));
  auto message = receive_message(*right);
  REQUIRE(message);
  CHECK(message->verb() == "started");
  REQUIRE(message->fds.size() == 1);
  struct stat sent {};
  struct stat got {};
  REQUIRE(::fstat(*left, &sent) == 0);
  REQUIRE(::fstat(*message->fds[0], &got) == 0);
  CHECK(sent.st_ino == got.st_ino);
  message->fds.clear();
  left.reset();
  auto end = receive_message(*right);
  REQUIRE(end);
  CHECK(end->closed);
}

}  // namespace ssi::lab
