// Of ourselves: what is open and mapped, and what becomes of it below a root.
#include "migrate/fds/files_in_use.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

namespace ssi::fds {
namespace {

struct Dir {
  std::string path;
  Dir() {
    char name[] = "/tmp/files-in-use.XXXXXX";
    path = ::mkdtemp(name);
  }
  ~Dir() { std::filesystem::remove_all(path); }
  std::string make(const std::string& name) const {
    std::ofstream(path + "/" + name) << "text";
    return path + "/" + name;
  }
};

const FileInUse* find(const std::vector<FileInUse>& files, const std::string& path) {
  const auto found = std::ranges::find(files, path, &FileInUse::path);
  return found == files.end() ? nullptr : &*found;
}

}  // namespace

TEST_CASE("files in use: once each, written if any of them may; no leased one, no deleted one") {
  const Dir dir;
  const std::string read = dir.make("read"), written = dir.make("written"),
                    leased = dir.make("leased"), deleted = dir.make("deleted");
  const UniqueFd r(::open(read.c_str(), O_RDONLY)), w(::open(written.c_str(), O_RDWR)),
      w2(::open(written.c_str(), O_RDONLY)), l(::open(leased.c_str(), O_RDONLY)),
      d(::open(deleted.c_str(), O_RDONLY));
  REQUIRE(::fcntl(*l, F_SETLEASE, F_RDLCK) == 0);
  ::unlink(deleted.c_str());
  const pid_t self[] = {::getpid()};
  const auto files = files_in_use(self);
  REQUIRE(find(files, read) != nullptr);
  CHECK_FALSE(find(files, read)->written);
  REQUIRE(find(files, written) != nullptr);
  CHECK(find(files, written)->written);
  CHECK(std::ranges::count(files, written, &FileInUse::path) == 1);
  CHECK(find(files, leased) == nullptr);
  CHECK(
      std::ranges::none_of(files, [&](const FileInUse& f) { return f.path.starts_with(deleted); }));
  CHECK(find(files, std::filesystem::read_symlink("/proc/self/exe").string()) != nullptr);
}

TEST_CASE("files in use are opened below the root, by no link, and only if they are files") {
  const Dir dir;
  dir.make("file");
  dir.make("other");
  std::filesystem::create_symlink(dir.path + "/file", dir.path + "/link");
  REQUIRE(::mkfifo((dir.path + "/fifo").c_str(), 0600) == 0);
  const UniqueFd root(::open(dir.path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  const std::vector<FileInUse> files{{"/file", true},  {"/../../other", false}, {"/link", false},
                                     {"/fifo", false}, {"/missing", true},      {"", false}};
  look_for_files(*root, files);
  const auto opened = open_files(*root, files);
  REQUIRE(opened.size() == 2);  // ".." of the root is the root
  CHECK((::fcntl(*opened[0], F_GETFL) & O_ACCMODE) == O_RDWR);
  CHECK((::fcntl(*opened[1], F_GETFL) & O_ACCMODE) == O_RDONLY);
}

}  // namespace ssi::fds
