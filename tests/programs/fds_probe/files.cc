// Files and directories that keep their names.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstddef>
#include <cstdio>
#include <string>
#include <vector>

#include "tests/programs/fds_probe/kind.h"
#include "tests/programs/fds_probe/kinds.h"

namespace fds_probe {
namespace {

class Append : public Kind {
 public:
  explicit Append(const std::string& dir)
      : path_(dir + "/append"), fd_(open_new(path_, O_APPEND)) {}
  void round(Number n) override {
    const std::string line = std::to_string(n) + "\n";
    expect(::write(fd_, line.data(), line.size()) == static_cast<ssize_t>(line.size()), "append");
  }
  void end(Number rounds) override {
    std::FILE* file = std::fopen(path_.c_str(), "re");
    Number read = 0, expected = 0;
    while (std::fscanf(file, "%llu", &read) == 1) expect(read == ++expected, "a line is wrong");
    expect(expected == rounds, "lines are missing");
    std::fclose(file);
  }

 private:
  std::string path_;
  int fd_;
};

// Reads on where it was, and starts again at the end.
class Offset : public Kind {
 public:
  explicit Offset(const std::string& dir) : fd_(open_new(dir + "/offset")) {
    std::vector<unsigned char> data(kBytes);
    for (std::size_t i = 0; i < data.size(); ++i) data[i] = byte(i);
    expect(::write(fd_, data.data(), kBytes) == static_cast<ssize_t>(kBytes), "fill a file");
    expect(::lseek(fd_, 0, SEEK_SET) == 0, "lseek");
  }
  void round(Number) override {
    unsigned char piece[997];
    const ssize_t got = ::read(fd_, piece, sizeof piece);
    expect(got >= 0, "read");
    for (ssize_t i = 0; i < got; ++i) {
      expect(piece[i] == byte(at_ + static_cast<std::size_t>(i)), "it read from somewhere else");
    }
    at_ += static_cast<std::size_t>(got);
    if (got > 0) return;
    expect(at_ == kBytes, "the end came too early");
    expect(::lseek(fd_, 0, SEEK_SET) == 0, "lseek");
    at_ = 0;
  }

 private:
  static constexpr std::size_t kBytes = 100'000;
  static unsigned char byte(std::size_t i) { return static_cast<unsigned char>(i * 7 + i / 251); }
  int fd_;
  std::size_t at_ = 0;
};

class Directory : public Kind {
 public:
  explicit Directory(const std::string& dir)
      : fd_(::open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {}
  void round(Number) override {
    expect(::mkdirat(fd_, "made", 0755) == 0, "mkdirat");
    expect(::unlinkat(fd_, "made", AT_REMOVEDIR) == 0, "unlinkat");
  }

 private:
  int fd_;
};

}  // namespace

void add_file_kinds(Makers& makers) {
  makers["append"] = make<Append>();
  makers["offset"] = make<Offset>();
  makers["directory"] = make<Directory>();
}

}  // namespace fds_probe
