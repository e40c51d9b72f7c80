#include "ssid/wire/unix_socket.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <grp.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <string>

#include "ssid/wire/frame.h"

namespace ssi {
namespace {

struct TempDir {
  std::string path = "/tmp/ssid-unix-XXXXXX";
  TempDir() { REQUIRE(::mkdtemp(path.data()) != nullptr); }
  ~TempDir() { ::rmdir(path.c_str()); }
};

int open_descriptors() {
  int count = 0;
  for (int fd = 0; fd < 1024; ++fd) count += ::fcntl(fd, F_GETFD) >= 0 ? 1 : 0;
  return count;
}

}  // namespace

TEST_CASE("a listener has the mode asked for, is found once, and is gone with its owner") {
  TempDir dir;
  const std::string path = dir.path + "/s";
  {
    auto listener = UnixListener::listen(path, UnixType::kStream, 0666);
    REQUIRE(listener.ok());
    struct stat st {};
    REQUIRE(::stat(path.c_str(), &st) == 0);
    CHECK((st.st_mode & 0777) == 0666);
    auto second = UnixListener::listen(path, UnixType::kStream, 0666);
    REQUIRE(!second.ok());
    CHECK(second.error().message() == path + ": another program listens there");
  }
  CHECK(::access(path.c_str(), F_OK) != 0);
  CHECK(!unix_connect(path, UnixType::kStream).ok());
}

TEST_CASE("a socket that a dead program left is replaced, any other file is not") {
  TempDir dir;
  const std::string path = dir.path + "/s";
  const pid_t pid = ::fork();
  if (pid == 0) {
    auto left = UnixListener::listen(path, UnixType::kSeqPacket, 0600);
    ::_exit(left.ok() ? 0 : 1);
  }
  int status = -1;
  REQUIRE(::waitpid(pid, &status, 0) == pid);
  REQUIRE(status == 0);
  REQUIRE(::access(path.c_str(), F_OK) == 0);
  CHECK(UnixListener::listen(path, UnixType::kSeqPacket, 0600).ok());
  UniqueFd(::open(path.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
  CHECK(!UnixListener::listen(path, UnixType::kSeqPacket, 0600).ok());
  ::unlink(path.c_str());
  CHECK(!UnixListener::listen(std::string(200, 'x'), UnixType::kSeqPacket, 0600).ok());
}

TEST_CASE("messages keep their borders and bring their descriptors, closed on exec") {
  auto pair = unix_pair(UnixType::kSeqPacket);
  REQUIRE(pair.ok());
  UniqueFd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  const int both[] = {*null, *pair->first};
  REQUIRE(unix_send(*pair->first, bytes_of("one"), both, 1000).ok());
  REQUIRE(unix_send(*pair->first, bytes_of("two"), {}, 1000).ok());
  auto one = unix_recv(*pair->second, 100, 2, 1000);
  REQUIRE(one.ok());
  CHECK(text_of(one->bytes) == "one");
  REQUIRE(one->descriptors.size() == 2);
  CHECK((::fcntl(*one->descriptors[0], F_GETFD) & FD_CLOEXEC) != 0);
  auto two = unix_recv(*pair->second, 100, 2, 1000);
  REQUIRE(two.ok());
  CHECK(text_of(two->bytes) == "two");
  CHECK(two->descriptors.empty());
}

TEST_CASE("too long a message and too many descriptors are refused, and none stays open") {
  auto pair = unix_pair(UnixType::kSeqPacket);
  REQUIRE(pair.ok());
  const int before = open_descriptors();
  const int three[] = {0, 1, 2};
  REQUIRE(unix_send(*pair->first, bytes_of("x"), three, 1000).ok());
  CHECK(!unix_recv(*pair->second, 100, 2, 1000).ok());
  REQUIRE(unix_send(*pair->first, bytes_of("12345"), three, 1000).ok());
  CHECK(!unix_recv(*pair->second, 4, 8, 1000).ok());
  CHECK(open_descriptors() == before);
}

TEST_CASE("silence times out, a closed end is gone") {
  auto pair = unix_pair(UnixType::kStream);
  REQUIRE(pair.ok());
  CHECK(unix_recv(*pair->first, 1, 0, 20).error().code() == ErrorCode::kTimeout);
  const std::vector<std::byte> much(8 << 20);
  CHECK(unix_send(*pair->first, much, {}, 20).error().code() == ErrorCode::kTimeout);
  pair->second.reset();
  CHECK(unix_send(*pair->first, much, {}, 20).error().code() == ErrorCode::kGone);
  CHECK(unix_recv(*pair->first, 1, 0, 20).error().code() == ErrorCode::kGone);
}

TEST_CASE("the kernel says who called") {
  TempDir dir;
  auto listener = UnixListener::listen(dir.path + "/s", UnixType::kStream, 0666);
  REQUIRE(listener.ok());
  if (::geteuid() == 0) ::chmod(dir.path.c_str(), 0711);  // the directory is 0700 for others
  const pid_t child = ::fork();
  if (child == 0) {
    if (::geteuid() == 0) {
      const gid_t groups[] = {7, 8};
      if (::setgroups(2, groups) != 0 || ::setresgid(12, 12, 12) != 0 ||
          ::setresuid(11, 11, 11) != 0)
        ::_exit(2);
    }
    auto fd = unix_connect(listener->path(), UnixType::kStream);
    if (!fd) ::_exit(1);
    char byte = 0;
    (void)!::read(**fd, &byte, 1);  // until the test closes its end
    ::_exit(0);
  }
  auto connection = listener->accept(5000);
  REQUIRE(connection.ok());
  auto caller = caller_of(**connection);
  REQUIRE(caller.ok());
  CHECK(caller->pid == child);
  CHECK(caller->process.alive());
  CHECK(caller->process.same_process(ProcessHandle::open(child).value()));
  if (::geteuid() == 0) {
    CHECK(caller->uid == 11);
    CHECK(caller->gid == 12);
    CHECK(caller->groups == std::vector<gid_t>{7, 8});
  } else {
    CHECK(caller->uid == ::getuid());
  }
  connection->reset();
  int status = -1;
  CHECK(::waitpid(child, &status, 0) == child);
  CHECK(status == 0);
  CHECK(!caller->process.alive());
}

}  // namespace ssi
