// Memory that is shared with a descriptor: mapped files, memory files, anonymous memory.
#include <fcntl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <unistd.h>

#include <cstddef>
#include <cstdio>
#include <memory>
#include <string>

#include "tests/programs/fds_probe/kind.h"
#include "tests/programs/fds_probe/kinds.h"

namespace fds_probe {
namespace {

class Mapped : public Kind {
 public:
  Mapped(const std::string& path, bool deleted) : fd_(open_new(path)) {
    expect(::ftruncate(fd_, 4096) == 0, "ftruncate");
    void* at = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd_, 0);
    expect(at != MAP_FAILED, "mmap");
    words_ = static_cast<volatile Number*>(at);
    if (!deleted) return;
    expect(::unlink(path.c_str()) == 0, "unlink");
    // Only mapped from here on.
    ::close(fd_);
    fd_ = -1;
  }
  void round(Number n) override {
    expect(words_[0] == n - 1, "the mapping lost a write");
    words_[0] = n;
    if (fd_ < 0 || n % 16 != 0) return;
    expect(::msync(const_cast<Number*>(words_), 4096, MS_SYNC) == 0, "msync");
    Number back = 0;
    expect(::pread(fd_, &back, sizeof back, 0) == sizeof back && back == n, "the file lost it");
  }

 private:
  int fd_;
  volatile Number* words_ = nullptr;
};

class Memfd : public Kind {
 public:
  explicit Memfd(const std::string&) : fd_(::memfd_create("fds_probe", MFD_CLOEXEC)) {}
  void round(Number n) override {
    Number before = 0;
    expect(n == 1 || (::pread(fd_, &before, sizeof before, 8) == sizeof before && before == n - 1),
           "another content");
    expect(::pwrite(fd_, &n, sizeof n, 8) == sizeof n, "write");
  }

 private:
  int fd_;
};

// Anonymous shared memory, and a descriptor of it: what is written to one is read from the other.
class SharedMemory : public Kind {
 public:
  explicit SharedMemory(const std::string&) {
    void* at = ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    expect(at != MAP_FAILED, "mmap");
    words_ = static_cast<volatile Number*>(at);
    char path[80];
    const auto begin = reinterpret_cast<unsigned long>(at);
    (void)std::snprintf(path, sizeof path, "/proc/self/map_files/%lx-%lx", begin, begin + kBytes);
    fd_ = ::open(path, O_RDWR | O_CLOEXEC);
    expect(fd_ >= 0, "open what is mapped");
  }
  void round(Number n) override {
    expect(words_[0] == n - 1, "the memory lost a write");
    words_[0] = n;
    Number back = 0;
    expect(::pread(fd_, &back, sizeof back, 0) == sizeof back && back == n,
           "the descriptor is of other memory");
    expect(::pwrite(fd_, &n, sizeof n, sizeof n) == sizeof n && words_[1] == n,
           "the memory is not that of the descriptor");
  }

 private:
  static constexpr std::size_t kBytes = 4096;
  volatile Number* words_ = nullptr;
  int fd_ = -1;
};

// By a name in /dev/shm, which is the same memory when it is opened again.
class NamedMemory : public Kind {
 public:
  explicit NamedMemory(const std::string&) : name_("/fds_probe." + std::to_string(::getpid())) {
    fd_ = ::shm_open(name_.c_str(), O_RDWR | O_CREAT | O_EXCL, 0640);
    expect(fd_ >= 0 && ::ftruncate(fd_, kBytes) == 0, "make shared memory");
    words_ = map(fd_);
  }
  ~NamedMemory() override { ::shm_unlink(name_.c_str()); }
  void round(Number n) override {
    expect(words_[kLast] == n - 1, "the memory lost a write");
    words_[kLast] = n;
    const int again = ::shm_open(name_.c_str(), O_RDWR, 0);
    expect(again >= 0, "the name is gone");
    volatile Number* const same = map(again);
    expect(same[kLast] == n, "the name is another memory's");
    ::munmap(const_cast<Number*>(same), kBytes);
    ::close(again);
  }

 private:
  static constexpr std::size_t kBytes = 70000;
  static constexpr std::size_t kLast = kBytes / sizeof(Number) - 1;
  static volatile Number* map(int fd) {
    void* at = ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    expect(at != MAP_FAILED, "mmap");
    return static_cast<volatile Number*>(at);
  }
  std::string name_;
  int fd_ = -1;
  volatile Number* words_ = nullptr;
};

// System V: by its number, and attached once more.
class SystemVMemory : public Kind {
 public:
  explicit SystemVMemory(const std::string&)
      : id_(::shmget(IPC_PRIVATE, kBytes, IPC_CREAT | 0600)) {
    expect(id_ >= 0, "shmget");
    words_ = attach();
  }
  ~SystemVMemory() override { ::shmctl(id_, IPC_RMID, nullptr); }
  void round(Number n) override {
    expect(words_[0] == n - 1, "the memory lost a write");
    words_[0] = n;
    volatile Number* const same = attach();
    expect(same[0] == n, "the number is another memory's");
    expect(::shmdt(const_cast<Number*>(same)) == 0, "shmdt");
    shmid_ds info{};
    expect(::shmctl(id_, IPC_STAT, &info) == 0 && info.shm_nattch == 1, "who has it attached");
  }

 private:
  static constexpr std::size_t kBytes = 8192;
  volatile Number* attach() const {
    void* at = ::shmat(id_, nullptr, 0);
    expect(at != reinterpret_cast<void*>(-1), "shmat");
    return static_cast<volatile Number*>(at);
  }
  int id_;
  volatile Number* words_ = nullptr;
};

}  // namespace

void add_memory_kinds(Makers& makers) {
  makers["mapping"] = [](auto& dir) { return std::make_unique<Mapped>(dir + "/mapped", false); };
  makers["deleted-mapping"] = [](auto& dir) {
    return std::make_unique<Mapped>(dir + "/lost", true);
  };
  makers["memfd"] = make<Memfd>();
  makers["shared-memory"] = make<SharedMemory>();
  makers["named-memory"] = make<NamedMemory>();
  makers["system-v-memory"] = make<SystemVMemory>();
}

}  // namespace fds_probe
