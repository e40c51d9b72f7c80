#include "migrate/fds/shm_file.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <set>
#include <string>

#include "migrate/fds/shm_series.h"
#include "ssid/base/unique_fd.h"

namespace ssi::fds {
namespace {

struct Dir {
  std::string path = "/tmp/shm_file_test." + std::to_string(::getpid());
  UniqueFd fd;
  Dir() {
    std::filesystem::create_directory(path);
    fd.reset(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  }
  ~Dir() { std::filesystem::remove_all(path); }
};

struct Segment {
  std::string name = "ssid_shm_test." + std::to_string(::getpid());
  char* memory = nullptr;
  Segment() {
    const UniqueFd fd(::shm_open(("/" + name).c_str(), O_RDWR | O_CREAT | O_EXCL, 0640));
    REQUIRE(::ftruncate(*fd, 12345) == 0);
    memory = static_cast<char*>(::mmap(nullptr, 12345, PROT_READ | PROT_WRITE, MAP_SHARED, *fd, 0));
    REQUIRE(memory != MAP_FAILED);
  }
  ~Segment() {
    ::munmap(memory, 12345);
    ::shm_unlink(("/" + name).c_str());
  }
};

}  // namespace

TEST_CASE("a shared memory file goes along: name, contents, mode; nothing stays") {
  const Dir images;
  Segment segment;
  std::snprintf(segment.memory + 12000, 100, "right at the end");
  const auto files = shm_files_of({::getpid(), ::getpid()});
  REQUIRE(files.ok());
  REQUIRE(files->size() == 1);
  CHECK(files->front().name == segment.name);
  REQUIRE(dump_shm_file(files->front(), *images.fd, 0).ok());
  remove_shm_file(files->front());
  CHECK(::access(("/dev/shm/" + segment.name).c_str(), F_OK) != 0);

  const auto name = restore_shm_file(*images.fd, "ssid-shm-0.img", *images.fd);
  REQUIRE(name.ok());
  CHECK(*name == segment.name);
  const UniqueFd copy(::openat(*images.fd, name->c_str(), O_RDONLY | O_CLOEXEC));
  struct stat st {};
  REQUIRE(::fstat(*copy, &st) == 0);
  CHECK(st.st_size == 12345);
  CHECK((st.st_mode & 07777) == 0640);
  char text[32] = {};
  CHECK(::pread(*copy, text, sizeof text - 1, 12000) > 0);
  CHECK(std::string(text) == "right at the end");
  // Once more, in the place of the other.
  CHECK(restore_shm_file(*images.fd, "ssid-shm-0.img", *images.fd).ok());
}

TEST_CASE("one that nobody has open goes along with those of its series") {
  CHECK(series_of("PostgreSQL.1887782836") == "PostgreSQL.");
  CHECK(series_of("psm_21467a2f") == "psm_");
  for (const char* none : {"sem.door", "PostgreSQL.", "notes", "a.b.C"})
    CHECK(series_of(none).empty());
  const Dir images;
  Segment segment;
  const std::string closed = "ssid_shm_test.1", other = "ssid_shm_test.notes";
  for (const std::string& name : {closed, other}) {
    const UniqueFd fd(::shm_open(("/" + name).c_str(), O_RDWR | O_CREAT, 0600));
    REQUIRE(::write(*fd, "closed", 6) == 6);
  }
  const auto names = [](const std::vector<pid_t>& pids) {
    std::set<std::string> all;
    const auto files = shm_files_of(pids);
    REQUIRE(files.ok());
    for (const ShmFile& file : *files) all.insert(file.name);
    return all;
  };
  CHECK(names({::getpid()}) == std::set{segment.name, closed});
  const auto files = shm_files_of({::getpid()});
  REQUIRE(dump_shm_file(files->back(), *images.fd, 0).ok());
  CHECK(*restore_shm_file(*images.fd, "ssid-shm-0.img", *images.fd) == closed);
  CHECK(std::filesystem::file_size(images.path + "/" + closed) == 6);

  // Somebody else has one, too: whose it is is not known.
  const pid_t somebody = ::fork();
  if (somebody == 0) {
    for (;;) ::pause();
  }
  CHECK(names({::getpid()}) == std::set{segment.name});
  CHECK(names({::getpid(), somebody}) == std::set{segment.name, closed});
  ::kill(somebody, SIGKILL);
  ::waitpid(somebody, nullptr, 0);
  for (const std::string& name : {closed, other}) ::shm_unlink(("/" + name).c_str());
}

TEST_CASE("a damaged image of shared memory is refused") {
  const Dir images;
  Segment segment;
  const auto files = shm_files_of({::getpid()});
  REQUIRE(files.ok());
  REQUIRE(dump_shm_file(files->front(), *images.fd, 0).ok());
  const std::string path = images.path + "/ssid-shm-0.img";
  std::filesystem::resize_file(path, std::filesystem::file_size(path) - 1);
  CHECK(!restore_shm_file(*images.fd, "ssid-shm-0.img", *images.fd).ok());
  REQUIRE(dump_shm_file(files->front(), *images.fd, 1).ok());
  const UniqueFd image(::openat(*images.fd, "ssid-shm-1.img", O_RDWR | O_CLOEXEC));
  REQUIRE(::pwrite(*image, "../x", 4, 32) == 4);
  CHECK(!restore_shm_file(*images.fd, "ssid-shm-1.img", *images.fd).ok());
  CHECK(!restore_shm_file(*images.fd, "ssid-shm-2.img", *images.fd).ok());
}

}  // namespace ssi::fds
