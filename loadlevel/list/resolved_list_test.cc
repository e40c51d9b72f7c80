#include "loadlevel/list/resolved_list.h"

#include <doctest/doctest.h>

using namespace ssi;

TEST_CASE("a link on the list stands for the program behind it") {
  const auto list = LoadLevelList::parse("/usr/bin/python3\n/bin/xz\n/not/there\n");
  const ResolvedList resolved(list, [](const std::string& path) -> std::optional<std::string> {
    if (path == "/usr/bin/python3") return "/usr/bin/python3.11";
    if (path == "/bin/xz") return "/usr/bin/xz";
    return {};
  });
  CHECK(resolved.entry_for("/usr/bin/python3.11") == "/usr/bin/python3");
  CHECK(resolved.entry_for("/usr/bin/xz") == "/bin/xz");
  CHECK(resolved.entry_for("/not/there") == "/not/there");
  CHECK(resolved.entry_for("/usr/bin/gcc").empty());
  CHECK(resolved.entry_for("").empty());
  CHECK(resolved.has_entry("/bin/xz"));
  CHECK_FALSE(resolved.has_entry("/bin/sh"));
}

TEST_CASE("the resolver of the file system follows links") {
  CHECK(resolve_in_file_system("/proc/self/exe").value_or("").starts_with("/"));
  CHECK_FALSE(resolve_in_file_system("/does/not/exist"));
}
