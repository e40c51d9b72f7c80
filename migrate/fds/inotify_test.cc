#include "migrate/fds/inotify.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

namespace ssi::fds {
namespace {

struct Dir {
  std::string path;
  Dir() {
    char name[] = "/tmp/ssid-inotify-XXXXXX";
    REQUIRE(::mkdtemp(name) != nullptr);
    path = name;
  }
  ~Dir() { ::rmdir(path.c_str()); }
  void make(const char* name) const { std::ofstream(path + "/" + name) << "x"; }
  void remove(const char* name) const { ::unlink((path + "/" + name).c_str()); }
};

std::vector<std::pair<int, std::string>> heard(int inotify) {
  std::vector<std::pair<int, std::string>> all;
  alignas(inotify_event) char buffer[4096];
  const ssize_t got = ::read(inotify, buffer, sizeof buffer);
  for (ssize_t at = 0; at < got;) {
    const auto* const event = reinterpret_cast<const inotify_event*>(buffer + at);
    all.emplace_back(event->wd, event->len > 0 ? event->name : "");
    at += static_cast<ssize_t>(sizeof *event + event->len);
  }
  return all;
}

}  // namespace

TEST_CASE("watches stand in fdinfo, a line each, and come in their order") {
  const std::string head = "pos:\t0\nflags:\t02004000\nmnt_id:\t16\nino:\t1062\n";
  const std::string second =
      "inotify wd:2 ino:7e sdev:800013 mask:800afce ignored_mask:0 fhandle-bytes:8 fhandle-type:1 "
      "f_handle:7e0000001f000000\n";
  const std::string first =
      "inotify wd:1 ino:7f sdev:26 mask:2 ignored_mask:0 fhandle-bytes:2 fhandle-type:81 "
      "f_handle:01ff\n";
  CHECK(parse_watches(head).empty());
  const auto lines = parse_watches(head + second + first);
  REQUIRE(lines.size() == 2);
  CHECK(lines[0].watch == Watch{1, 0x7f, 2});
  CHECK(lines[0].handle == std::string("\x01\xff"));
  CHECK(lines[0].handle_type == 0x81);
  CHECK(lines[0].device == 0x26);
  CHECK(lines[1].watch == Watch{2, 0x7e, 0x800afce});
  CHECK(lines[1].device == 0x813);
  // Not one of which something is missing.
  CHECK(parse_watches("inotify wd:1 ino:7f sdev:26 mask:2 fhandle-type:81 f_handle:01f\n").empty());
  CHECK(parse_watches("inotify wd:1 ino:7f sdev:26 mask:2\n").empty());
}

TEST_CASE("an instance that is made like another one hears the same, under the same numbers") {
  const Dir dir, other;
  const UniqueFd original(::inotify_init1(IN_NONBLOCK));
  REQUIRE(::inotify_add_watch(*original, "/tmp", IN_ATTRIB) == 1);
  REQUIRE(::inotify_add_watch(*original, dir.path.c_str(), IN_CREATE) == 2);
  REQUIRE(::inotify_add_watch(*original, other.path.c_str(), IN_CREATE | IN_ONESHOT) == 3);
  REQUIRE(::inotify_rm_watch(*original, 1) == 0);
  const std::vector<pid_t> self{::getpid()};
  CHECK(any_watcher(self));
  CHECK_FALSE(*all_was_read(self));
  CHECK(forget_heard(*original).ok());
  CHECK(*all_was_read(self));

  const auto watcher = watcher_of(::getpid(), *original);
  REQUIRE(watcher.ok());
  REQUIRE(watcher->watches.size() == 2);
  CHECK(watcher->watches[0].path == dir.path);
  CHECK(watcher->watches[1].path == other.path);
  const UniqueFd root(::open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
  const auto made = make_watcher(*root, *watcher);
  REQUIRE(made.ok());
  CHECK((::fcntl(**made, F_GETFL) & O_NONBLOCK) != 0);
  other.make("a");
  dir.make("b");
  other.make("c");  // which IN_ONESHOT hears no more
  CHECK(heard(*original) == heard(**made));
  dir.make("d");
  CHECK(heard(**made) == std::vector<std::pair<int, std::string>>{{2, "d"}});
  for (const char* name : {"b", "d"}) dir.remove(name);
  for (const char* name : {"a", "c"}) other.remove(name);
}

TEST_CASE("what is not there, or another file, is not watched") {
  const Dir dir;
  const UniqueFd root(::open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
  struct stat st {};
  REQUIRE(::stat(dir.path.c_str(), &st) == 0);
  const auto made = [&](const std::string& path, std::uint64_t inode) {
    return make_watcher(*root, {1, 3, 0, {{1, inode, IN_CREATE, path}}});
  };
  CHECK(made(dir.path, st.st_ino).ok());
  CHECK(made(dir.path, st.st_ino + 1).error().code() == ErrorCode::kRefused);
  CHECK(made(dir.path + "/gone", st.st_ino).error().code() == ErrorCode::kRefused);
}

TEST_CASE("a watch on a deleted file goes along if the file is open") {
  const Dir dir;
  dir.make("file");
  UniqueFd file(::open((dir.path + "/file").c_str(), O_RDWR | O_CLOEXEC));
  const UniqueFd original(::inotify_init1(IN_NONBLOCK));
  REQUIRE(::inotify_add_watch(*original, (dir.path + "/file").c_str(), IN_MODIFY) == 1);
  dir.remove("file");
  const auto watcher = watcher_of(::getpid(), *original);
  REQUIRE(watcher.ok());
  REQUIRE(watcher->watches.size() == 1);
  CHECK(watcher->watches[0].path.empty());
  const UniqueFd root(::open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
  const auto made = make_watcher(*root, *watcher);
  REQUIRE(made.ok());
  CHECK(add_watch(**made, *file, watcher->watches[0]).ok());
  REQUIRE(::write(*file, "y", 1) == 1);
  CHECK(heard(**made).size() == 1);
}

}  // namespace ssi::fds
