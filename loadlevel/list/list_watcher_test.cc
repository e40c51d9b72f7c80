#include "loadlevel/list/list_watcher.h"

#include <doctest/doctest.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "loadlevel/list/list_file.h"

using namespace ssi;
namespace fs = std::filesystem;

namespace {

struct Directory {
  std::string path;
  Directory() {
    char name[] = "/tmp/list_watcher_XXXXXX";
    REQUIRE(::mkdtemp(name));
    path = name;
  }
  ~Directory() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
  std::string operator/(const std::string& name) const { return path + "/" + name; }
};

void write(const std::string& path, const std::string& text) { std::ofstream(path) << text; }

// Waits for the descriptor as the daemon does, then asks.
std::optional<LoadLevelList> told(ListWatcher& watcher) {
  pollfd p{watcher.fd(), POLLIN, 0};
  if (::poll(&p, 1, 2000) <= 0) return {};
  return watcher.changed();
}

ListWatcher watch(const std::string& path) {
  auto watcher = ListWatcher::open(path);
  REQUIRE(watcher.ok());
  return std::move(watcher).value();
}

}  // namespace

TEST_CASE("each way of changing the file is told by the descriptor") {
  Directory dir;
  const std::string path = dir / "loadlevellist";
  auto watcher = watch(path);
  const auto first = watcher.changed();
  REQUIRE(first);
  CHECK(first->paths().empty());
  CHECK_FALSE(watcher.changed());

  write(path, "/a\n");  // created
  auto list = told(watcher);
  REQUIRE(list);
  CHECK(list->contains("/a"));

  std::ofstream(path, std::ios::app) << "/b\n";  // written in place
  list = told(watcher);
  REQUIRE(list);
  CHECK(list->contains("/b"));

  write(dir / "new", "/c\n");  // replaced by rename
  fs::rename(dir / "new", path);
  list = told(watcher);
  REQUIRE(list);
  CHECK(list->paths() == std::vector<std::string>{"/c"});

  std::ofstream(path, std::ios::app) << "/d\n";  // the new file too is watched
  list = told(watcher);
  REQUIRE(list);
  CHECK(list->contains("/d"));

  fs::remove(path);
  list = told(watcher);
  REQUIRE(list);
  CHECK(list->paths().empty());

  write(path, "/e\n");  // created again
  list = told(watcher);
  REQUIRE(list);
  CHECK(list->contains("/e"));

  REQUIRE(write_list(path, *list->add("/f")).ok());  // as `loadlevel add` does
  list = told(watcher);
  REQUIRE(list);
  CHECK(list->contains("/f"));
}

TEST_CASE("the directory may come and go") {
  Directory dir;
  const std::string path = dir / "etc/ssi/loadlevellist";
  auto watcher = watch(path);
  REQUIRE(watcher.changed());
  for (int round = 0; round < 3; ++round) {
    CAPTURE(round);
    fs::create_directory(dir / "etc");
    told(watcher);
    fs::create_directory(dir / "etc/ssi");
    told(watcher);
    write(path, "/a\n");
    auto list = told(watcher);
    REQUIRE(list);
    CHECK(list->contains("/a"));
    fs::remove_all(dir / "etc");
    list = told(watcher);
    REQUIRE(list);
    CHECK(list->paths().empty());
    while (watcher.changed()) continue;
  }
}

TEST_CASE("behind a symbolic link, and without being told") {
  Directory dir;
  write(dir / "real", "/a\n");
  fs::create_symlink("real", dir / "link");
  auto watcher = watch(dir / "link");
  REQUIRE(watcher.changed());
  std::ofstream(dir / "real", std::ios::app) << "/b\n";
  auto list = told(watcher);
  REQUIRE(list);
  CHECK(list->contains("/b"));
  REQUIRE(write_list(dir / "link", *list->add("/c")).ok());
  CHECK(fs::is_symlink(dir / "link"));
  list = watcher.changed();
  REQUIRE(list);
  CHECK(list->contains("/c"));
}

TEST_CASE("the same text again is no change; an unreadable file leaves the list as it is") {
  Directory dir;
  const std::string path = dir / "loadlevellist";
  write(path, "/a\n");
  auto watcher = watch(path);
  REQUIRE(watcher.changed());
  write(path, "/a\n");
  CHECK_FALSE(told(watcher));
  fs::remove(path);
  fs::create_directory(path);
  CHECK_FALSE(told(watcher));
  CHECK(watcher.problem() == path + ": not a regular file");
  fs::remove(path);
  REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
  CHECK_FALSE(told(watcher));
  CHECK(watcher.problem() == path + ": not a regular file");
  fs::remove(path);
  write(path, "/b\n");
  auto list = told(watcher);
  REQUIRE(list);
  CHECK(watcher.problem().empty());
}

TEST_CASE("a written file keeps its mode; a failed write leaves no rubbish") {
  Directory dir;
  const std::string path = dir / "loadlevellist";
  write(path, "/a\n");
  fs::permissions(path, fs::perms::owner_read);
  REQUIRE(write_list(path, LoadLevelList::parse("/b\n")).ok());
  CHECK(fs::status(path).permissions() == fs::perms::owner_read);
  CHECK(read_list(path)->contains("/b"));
  fs::create_directory(dir / "sub");
  CHECK_FALSE(write_list(dir / "sub", LoadLevelList::parse("/b\n")).ok());
  std::size_t files = 0;
  for (const auto& entry : fs::directory_iterator(dir.path)) files += entry.exists() ? 1u : 0u;
  CHECK(files == 2);
  CHECK_FALSE(write_list(dir / "x/y/z", LoadLevelList::parse("/b\n")).ok());
}
