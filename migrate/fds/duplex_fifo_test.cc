#include "migrate/fds/duplex_fifo.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "ssid/base/unique_fd.h"

namespace ssi::fds {
namespace {

struct Fixture {
  char dir[32] = "/tmp/duplex_fifo.XXXXXX";
  std::string path;
  UniqueFd fifo;

  Fixture() {
    REQUIRE(::mkdtemp(dir) != nullptr);
    path = std::string(dir) + "/fifo";
    REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
    fifo = UniqueFd(::open(path.c_str(), O_RDWR | O_CLOEXEC));  // it would wait
    REQUIRE(fifo);
  }
  ~Fixture() {
    ::unlink(path.c_str());
    ::rmdir(dir);
  }
  std::vector<DuplexFifo> found() const {
    auto all = duplex_fifos(::getpid());
    std::erase_if(all, [&](const DuplexFifo& one) { return one.path != path; });
    return all;
  }
  int waiting() const {
    int bytes = 0;
    REQUIRE(::ioctl(*fifo, FIONREAD, &bytes) == 0);
    return bytes;
  }
  std::string take(std::size_t bytes) const {
    std::string text(bytes, 0);
    for (std::size_t at = 0; at < bytes;) {
      const ssize_t got = ::read(*fifo, text.data() + at, bytes - at);
      REQUIRE(got > 0);
      at += static_cast<std::size_t>(got);
    }
    return text;
  }
  void put(const std::string& text) const {
    REQUIRE(::write(*fifo, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
  }
};

}  // namespace

TEST_CASE("those for both directions, each once, with a name or without") {
  Fixture f;
  const UniqueFd second(::open(f.path.c_str(), O_RDWR | O_CLOEXEC));
  const UniqueFd reader(::open(f.path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  const UniqueFd path(::open(f.path.c_str(), O_PATH | O_CLOEXEC));
  const auto found = f.found();
  REQUIRE(found.size() == 1);
  CHECK((found[0].number == *f.fifo || found[0].number == *second));
  CHECK_FALSE(found[0].nameless);
  ::unlink(f.path.c_str());
  f.path += " (deleted)";
  REQUIRE(f.found().size() == 1);
  CHECK(f.found()[0].nameless);
}

TEST_CASE("what went along is taken out, what came later stays") {
  Fixture f;
  f.put("went");
  f.put("later");
  REQUIRE(empty_fifo(*f.fifo, 4).ok());
  CHECK(f.waiting() == 5);
  CHECK(f.take(5) == "later");
  CHECK(empty_fifo(*f.fifo, 100).ok());  // somebody else has read it
  f.put(std::string(20'000, 'x'));
  CHECK(empty_fifo(*f.fifo, {}).ok());
  CHECK(f.waiting() == 0);
}

TEST_CASE("what comes is put behind what is there, however much that is") {
  Fixture f;
  const std::string there(::fcntl(*f.fifo, F_GETPIPE_SZ), 'a');
  std::string comes(50'000, 'b');
  comes.back() = 'c';
  f.put(there);
  REQUIRE(fill_fifo(*f.fifo, comes).ok());
  CHECK(f.take(there.size()) == there);
  CHECK(f.take(comes.size()) == comes);
  CHECK(fill_fifo(*f.fifo, "").ok());
  CHECK(f.waiting() == 0);
}

}  // namespace ssi::fds
