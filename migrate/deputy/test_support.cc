#include "migrate/deputy/test_support.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include <atomic>
#include <climits>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "migrate/deputy/held_cgroup.h"
#include "ssid/base/check.h"

namespace ssi::deputy::testing {
namespace {

constexpr std::size_t kSharedBytes = 65 * 8;

std::string cgroup2_mount() {
  std::ifstream mounts("/proc/mounts");
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream fields(line);
    std::string device, dir, type;
    fields >> device >> dir >> type;
    if (type == "cgroup2") return dir;
  }
  SSI_CHECK(!"no cgroup v2 is mounted");
  return {};
}

}  // namespace

void short_pause() {
  const timespec time{0, 1000000};
  nanosleep(&time, nullptr);
}

std::string read_file(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string program(const char* name) {
  return std::filesystem::read_symlink("/proc/self/exe").parent_path() / name;
}

bool wait_readable(int fd, int timeout_ms) {
  pollfd wait{.fd = fd, .events = POLLIN, .revents = 0};
  return ::poll(&wait, 1, timeout_ms) == 1;
}

TestCgroup::TestCgroup() {
  static std::atomic<int> serial{0};
  dir_ =
      cgroup2_mount() + "/ssid-test-" + std::to_string(getpid()) + "-" + std::to_string(serial++);
  SSI_CHECK(std::filesystem::create_directory(dir_));
}

TestCgroup::~TestCgroup() {
  put("cgroup.kill", "1");
  thaw();
  eventually([&] { return ::rmdir(dir_.c_str()) == 0; });
}

void TestCgroup::put(const char* file, const std::string& text) const {
  std::ofstream(dir_ + "/" + file) << text;
}

std::string TestCgroup::get(const char* file) const { return read_file(dir_ + "/" + file); }

void TestCgroup::freeze() const {
  put("cgroup.freeze", "1");
  auto cgroup = HeldCgroup::open(dir_);
  SSI_CHECK(cgroup.ok() && cgroup->wait_frozen(std::chrono::seconds(5)).ok());
}

TestDir::TestDir() {
  std::string name = std::filesystem::temp_directory_path() / "ssid-deputy-XXXXXX";
  SSI_CHECK(mkdtemp(name.data()) != nullptr);
  dir_ = name;
  std::filesystem::permissions(dir_, std::filesystem::perms(0755));
}
TestDir::~TestDir() { std::filesystem::remove_all(dir_); }

Family::Family(const std::vector<std::string>& command) {
  int ends[2];
  SSI_CHECK(pipe2(ends, O_CLOEXEC) == 0);
  output_.reset(ends[0]);
  const std::string parent_program = program("deputy_test_parent");
  std::vector<std::string> words{parent_program};
  words.insert(words.end(), command.begin(), command.end());
  std::vector<char*> argv;
  for (auto& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  parent_ = fork();
  if (parent_ == 0) {
    dup2(ends[1], 1);
    setpgid(0, 0);
    execv(argv[0], argv.data());
    _exit(127);
  }
  ::close(ends[1]);
  const std::string first = heard();
  SSI_CHECK(first.starts_with("pid "));
  child_ = static_cast<pid_t>(std::atoi(first.c_str() + 4));
}

Family::~Family() {
  ::kill(parent_, SIGKILL);  // and so the child, too
  int status = 0;
  ::waitpid(parent_, &status, 0);
}

std::string Family::heard(int timeout_ms) {
  for (;;) {
    const std::size_t end = text_.find('\n');
    if (end != std::string::npos) {
      const std::string line = text_.substr(0, end);
      text_.erase(0, end + 1);
      return line;
    }
    if (!wait_readable(*output_, timeout_ms)) return {};
    char buffer[512];
    const ssize_t got = ::read(*output_, buffer, sizeof buffer);
    if (got <= 0) return {};
    text_.append(buffer, static_cast<std::size_t>(got));
  }
}

Counters::Counters(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666));
  SSI_CHECK(fd && ::fchmod(*fd, 0666) == 0 && ::ftruncate(*fd, kSharedBytes) == 0);
  void* memory = mmap(nullptr, kSharedBytes, PROT_READ, MAP_SHARED, *fd, 0);
  SSI_CHECK(memory != MAP_FAILED);
  shared_ = static_cast<volatile std::uint64_t*>(memory);
}
Counters::~Counters() { munmap(const_cast<std::uint64_t*>(shared_), kSharedBytes); }
std::vector<std::uint64_t> Counters::all() const { return {shared_, shared_ + 65}; }
bool Counters::wait_counting(int threads) const {
  return eventually([&] {
    for (int i = 0; i < threads; ++i) {
      if (shared_[i] == 0) return false;
    }
    return true;
  });
}

TestHost::TestHost(const std::string& path) {
  auto listener = listen_for_deputies(path);
  SSI_CHECK(listener.ok());
  listener_ = std::move(*listener);
}

bool TestHost::accept(int timeout_ms) {
  connection_.reset();
  if (!wait_readable(*listener_, timeout_ms)) return false;
  connection_.reset(::accept4(*listener_, nullptr, nullptr, SOCK_CLOEXEC));
  const auto first = next();
  if (!first || !std::holds_alternative<Hello>(*first)) return false;
  hello_ = std::get<Hello>(*first);
  return true;
}

std::optional<FromDeputy> TestHost::next(int timeout_ms) {
  if (!wait_readable(*connection_, timeout_ms)) return {};
  auto message = receive(*connection_);
  if (!message) return {};
  return *message;
}

std::optional<Signal> TestHost::next_signal(int timeout_ms) {
  const auto message = next(timeout_ms);
  if (!message || !std::holds_alternative<Signal>(*message)) return {};
  const Signal signal = std::get<Signal>(*message);
  SignalAck ack;
  ack.sequence = signal.sequence;
  if (!tell(ack)) return {};
  return signal;
}

bool TestHost::tell(const ToDeputy& message) { return send(*connection_, message).ok(); }

}  // namespace ssi::deputy::testing
