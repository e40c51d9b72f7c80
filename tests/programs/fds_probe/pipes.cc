// Named pipes, alone or with somebody at the other end.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <memory>
#include <string>

#include "tests/programs/fds_probe/kind.h"
#include "tests/programs/fds_probe/kinds.h"

namespace fds_probe {
namespace {

// A FIFO that nobody else can reach: what was written is read in its order.
class DeletedFifo : public Kind {
 public:
  explicit DeletedFifo(const std::string& dir) {
    const std::string path = dir + "/deleted-fifo";
    expect(::mkfifo(path.c_str(), 0600) == 0, "mkfifo");
    fd_ = ::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NONBLOCK);
    expect(fd_ >= 0 && ::unlink(path.c_str()) == 0, "open a FIFO");
    for (Number i = 1; i <= 5; ++i) put(i);
  }
  void round(Number n) override {
    Number got = 0;
    expect(::read(fd_, &got, sizeof got) == sizeof got && got == n, "another number came");
    put(n + 5);
  }

 private:
  void put(Number n) { expect(::write(fd_, &n, sizeof n) == sizeof n, "write to a FIFO"); }
  int fd_;
};

// A number comes by one FIFO, its successor goes by the other one.
class Fifo : public Kind {
 public:
  explicit Fifo(const std::string& dir)
      : in_(::open((dir + "/in").c_str(), O_RDONLY | O_CLOEXEC)),
        out_(::open((dir + "/out").c_str(), O_WRONLY | O_CLOEXEC)) {
    expect(in_ >= 0 && out_ >= 0, "open FIFOs");
  }
  void round(Number) override {
    Number n = 0;
    const ssize_t got = ::read(in_, &n, sizeof n);
    if (got < 0 && errno == EINTR) return;
    expect(got == sizeof n, "no number came");
    ++n;
    expect(::write(out_, &n, sizeof n) == sizeof n, "write to a FIFO");
  }

 private:
  int in_, out_;
};

// It writes a number into a FIFO and takes two out of it, from among its own and those that
// somebody at home writes there, too; others may take some out at home. Who writes counts, so the
// order of each can be told. At its end it writes down how many it wrote, and took out of each
// kind.
class FifoPair : public Kind {
 public:
  FifoPair(const std::string& dir, const volatile sig_atomic_t& finish)
      : in_(::open((dir + "/both").c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)),
        out_(::open((dir + "/both").c_str(), O_WRONLY | O_CLOEXEC)),
        counts_(dir + "/counts"),
        finish_(finish) {
    expect(in_ >= 0 && out_ >= 0 && ::fcntl(in_, F_SETFL, 0) == 0, "open both ends of a FIFO");
  }
  void round(Number) override {
    ++written_;
    expect(::write(out_, &written_, sizeof written_) == sizeof written_, "write to a FIFO");
    if (take()) take();
  }
  void end(Number) override {
    while (is_more_to_come()) take();
    std::FILE* file = std::fopen(counts_.c_str(), "we");
    std::fprintf(file, "%llu %llu %llu\n", written_, own_.taken, homes_.taken);
    std::fclose(file);
  }

 private:
  struct Order {
    Number last = 0;
    Number taken = 0;
  };
  bool is_more_to_come() const {
    pollfd entry{in_, POLLIN, 0};
    return ::poll(&entry, 1, 1000) == 1;
  }
  bool take() {
    Number n = 0;
    const ssize_t got = ::read(in_, &n, sizeof n);
    if (got < 0 && errno == EINTR && finish_ != 0) return false;
    expect(got == sizeof n, "no number came");
    constexpr Number kOfHome = Number{1} << 63;
    Order& order = (n & kOfHome) != 0 ? homes_ : own_;
    n &= ~kOfHome;
    expect(n > order.last, "numbers came in another order, or twice");
    order.last = n;
    ++order.taken;
    return true;
  }
  int in_, out_;
  std::string counts_;
  const volatile sig_atomic_t& finish_;
  Number written_ = 0;
  Order own_, homes_;
};

}  // namespace

void add_pipe_kinds(Makers& makers, const volatile sig_atomic_t& finish) {
  makers["deleted-fifo"] = make<DeletedFifo>();
  makers["fifo"] = make<Fifo>();
  makers["fifo-pair"] = [&finish](auto& dir) { return std::make_unique<FifoPair>(dir, finish); };
}

}  // namespace fds_probe
