#include "migrate/check/tree.h"

#include <doctest/doctest.h>
#include <fcntl.h>

namespace ssi::check {
namespace {

constexpr pid_t kParent = 100, kChild = 101, kStranger = 900;

ProcessFacts process(pid_t pid, std::string comm) {
  ProcessFacts facts;
  facts.name = {pid, std::move(comm)};
  facts.exe = "/usr/bin/job";
  facts.cwd = "/";
  return facts;
}

Tree family() {
  Tree tree{process(kParent, "make"), process(kChild, "cc1")};
  tree[0].children = {{kChild, "cc1"}};
  tree[1].parent = kParent;
  return tree;
}

FdFact pipe_end(std::uint64_t inode, std::uint32_t flags) {
  FdFact fd;
  fd.kind = FdKind::kPipe;
  fd.inode = inode;
  fd.flags = flags;
  return fd;
}

std::string reason(const Tree& tree) {
  const auto refusal = check_tree(tree, {});
  return refusal ? refusal->reason() : "";
}

}  // namespace

TEST_CASE("a child is no reason any more, one that still runs in its parent's memory is") {
  Tree tree = family();
  CHECK(reason(seen_as_one(tree)).empty());
  tree[0].vfork_child = true;
  CHECK(reason(seen_as_one(tree)).ends_with("which still runs in its memory (vfork)"));
}

TEST_CASE("a reason against another than the first names it") {
  Tree tree = family();
  tree[1].pending_sigtrap = true;
  CHECK(reason(seen_as_one(tree)) ==
        "process 101 (cc1) of its tree: a SIGTRAP is pending for it, which would be lost");
}

TEST_CASE("memory that they share with each other goes along, a stranger's does not") {
  Tree tree = family();
  tree[0].shared_memory = {{.what = "anonymous shared memory",
                            .inode = 1,
                            .writable = true,
                            .sharers = {{kChild, "cc1"}}}};
  CHECK(shares_memory_inside(tree));
  CHECK(reason(seen_as_one(tree)).empty());
  tree[0].shared_memory[0].sharers.push_back({kStranger, "top"});
  CHECK(reason(seen_as_one(tree)) ==
        "it shares memory with process 900 (top): anonymous shared memory");
  tree[0].shared_memory[0].sharers = {{kStranger, "top"}};
  CHECK_FALSE(shares_memory_inside(tree));
}

TEST_CASE("a pipe between two of them is inside, whoever has which end") {
  Tree tree = family();
  tree[0].fds = {pipe_end(7, O_RDONLY), pipe_end(8, O_RDONLY)};
  tree[1].fds = {pipe_end(7, O_WRONLY)};
  tree[1].fds[0].readers = {{kParent, "make"}, {kStranger, "tee"}};
  const Tree seen = seen_as_one(tree);
  CHECK(seen[0].fds[0].other_end_inside);
  CHECK(seen[1].fds[0].other_end_inside);
  CHECK_FALSE(seen[0].fds[1].other_end_inside);
  REQUIRE(seen[1].fds[0].readers.size() == 1);
  CHECK(seen[1].fds[0].readers[0].pid == kStranger);
}

TEST_CASE("a connection between two of them is inside, and so is a handle on one of them") {
  Tree tree = family();
  FdFact mine, its, handle;
  mine.kind = its.kind = FdKind::kUnixSocket;
  mine.inode = 7, mine.peers = {8}, mine.peer_holders = {{kChild, "cc1"}};
  its.inode = 8, its.peers = {7}, its.peer_holders = {{kParent, "make"}};
  handle.kind = FdKind::kPidfd;
  handle.handle_on = kChild;
  handle.why_not = "of process 12, which stays";
  tree[0].fds = {mine, handle};
  tree[1].fds = {its};
  CHECK(reason(seen_as_one(tree)).empty());
  tree[0].fds[1].handle_on = kStranger;
  CHECK(reason(seen_as_one(tree)).ends_with("of process 900, which stays"));
  tree[0].fds = {mine};
  tree[0].fds[0].peers = {9};
  tree[0].fds[0].why_not_relayed = "by messages";
  CHECK_FALSE(reason(seen_as_one(tree)).empty());
}

TEST_CASE("a file of /proc about a process of the tree moves, whatever the PID is called here") {
  Tree tree(2);
  tree[0].name = {5001, "parent"};
  tree[1].name = {5002, "child"};
  tree[0].own_pid = 71, tree[1].own_pid = 72;
  tree[0].fds = {{.number = 3,
                  .kind = FdKind::kKernelFile,
                  .target = "/proc/72/stat",
                  .proc_file = fds::parse_proc_file("/proc/72/stat", 0, 0),
                  .why_not = "about process 72, which stays"}};
  CHECK(!check_tree(seen_as_one(tree), {}));
  tree[1].own_pid = 73;
  CHECK(check_tree(seen_as_one(tree), {})->reason() ==
        "fd 3 is a file of this machine's kernel (/proc/72/stat) about process 72, which stays");
}

TEST_CASE("a working directory of a process that ended stays, if its PID moves") {
  Tree tree(2);
  tree[0].own_pid = 70;
  tree[1].own_pid = 71;
  tree[0].cwd = "/proc/71";
  tree[1].cwd = "/proc/72";
  tree[0].cwd_deleted = tree[1].cwd_deleted = true;
  const auto one = seen_as_one(tree);
  CHECK(one[0].cwd_pid_used_again);
  CHECK(!one[1].cwd_pid_used_again);
}

TEST_CASE("an epoll in flight stays with a tree") {
  Tree tree(2);
  tree[1].fds = {{.number = 4, .kind = FdKind::kEpoll}};
  CHECK(seen_as_one(tree)[1].fds[0].why_not == "");
  tree[1].fds[0].in_flight = true;
  CHECK(seen_as_one(tree)[1].fds[0].why_not == "in a tree of processes");
}

}  // namespace ssi::check
