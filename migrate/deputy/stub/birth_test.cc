// A deputy forks one for a child that its guest has where it runs.
#include <doctest/doctest.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <string>

#include "migrate/deputy/deputy_host.h"
#include "migrate/deputy/test_original.h"
#include "ssid/base/proc_job.h"
#include "ssid/base/proc_status.h"

namespace ssi::deputy {

using namespace testing;

namespace {

// Below what the kernel gives out meanwhile, or at the other end of the range.
pid_t free_pid() {
  for (pid_t pid = getpid() > 20000 ? 10000 : 30000;; --pid) {
    if (::kill(pid, 0) != 0) return pid;
  }
}

Birth birth_of(pid_t pid, const char* comm, const char* title) {
  Birth birth;
  birth.pid = pid;
  birth.born_with = 42;
  birth.epoch = 9;
  std::strncpy(birth.comm, comm, sizeof birth.comm - 1);
  std::strncpy(birth.title, title, sizeof birth.title - 1);
  return birth;
}

std::string command_of(pid_t pid) {
  std::string text = read_proc_file(pid, "cmdline").value_or("gone");
  return text.substr(0, text.find('\0'));
}

bool is_over(pid_t pid) {
  return eventually([pid] { return ::kill(pid, 0) != 0; });
}

}  // namespace

TEST_CASE("a deputy is born below another, and ends when it is told to") {
  Original original;
  original.hold();
  original.convert_and_meet();
  const UniqueFd parent = original.host.take_connection();
  const pid_t pid = free_pid();
  REQUIRE(send(*parent, birth_of(pid, "backend", "postgres: backend, a rather long title")));
  REQUIRE(original.host.accept());
  CHECK(original.host.hello().home_pid == pid);
  CHECK(original.host.hello().born_with == 42);
  CHECK(original.host.hello().epoch == 9);
  const auto peer = peer_of(original.host.connection());
  REQUIRE(peer.ok());
  CHECK(peer->pid == pid);
  const auto job = proc_job(pid);
  REQUIRE(job);
  CHECK(job->parent == original.family.child());
  CHECK(job->session == proc_job(original.family.child())->session);
  CHECK(job->group == proc_job(original.family.child())->group);
  CHECK(read_proc_file(pid, "comm").value_or("") == "backend\n");
  CHECK(command_of(pid) == "postgres: backend, a rather long title");
  // It is one like every other: signals, and more of them.
  ::kill(pid, SIGUSR1);
  const auto signal = original.host.next_signal();
  REQUIRE(signal);
  CHECK(signal->signo == SIGUSR1);
  CHECK(signal->sequence == 1);
  const UniqueFd child = original.host.take_connection();
  const pid_t below = free_pid();
  Birth leader = birth_of(below, "worker", "worker");
  leader.new_session = 1;
  REQUIRE(send(*child, leader));
  REQUIRE(original.host.accept());
  CHECK(original.host.hello().home_pid == below);
  CHECK(proc_job(below)->parent == pid);
  CHECK(proc_job(below)->session == below);
  REQUIRE(original.host.tell(exit_message(0)));
  CHECK(is_over(below));
  REQUIRE(send(*child, exit_message(3)));
  CHECK(is_over(pid));
  // Nobody was told of them.
  CHECK(original.family.heard(0).empty());
  REQUIRE(send(*parent, exit_message(4)));
  CHECK(original.family.heard() == "exited 4");
}

TEST_CASE("a deputy of an orphan has init for a parent, whoever forks it") {
  Original original;
  original.hold();
  original.convert_and_meet();
  const UniqueFd parent = original.host.take_connection();
  const pid_t pid = free_pid();
  Birth birth = birth_of(pid, "orphan", "orphan");
  birth.is_orphan = 1;
  birth.group = pid;
  REQUIRE(send(*parent, birth));
  REQUIRE(original.host.accept());
  CHECK(original.host.hello().home_pid == pid);
  const auto job = proc_job(pid);
  REQUIRE(job);
  CHECK(job->parent != original.family.child());
  CHECK(job->group == pid);
  REQUIRE(original.host.tell(exit_message(0)));
  CHECK(is_over(pid));
  REQUIRE(send(*parent, exit_message(0)));
  CHECK(original.family.heard() == "exited 0");
}

TEST_CASE("a deputy of another user's process, and one whose PID is in use") {
  Original original;
  original.hold();
  original.convert_and_meet();
  const UniqueFd parent = original.host.take_connection();
  const pid_t pid = free_pid();
  Birth birth = birth_of(pid, "other", "other");
  birth.sets_users = 1;
  birth.users[0] = birth.users[1] = birth.users[2] = 65534;
  birth.groups[0] = birth.groups[1] = birth.groups[2] = 65533;
  REQUIRE(send(*parent, birth));
  REQUIRE(original.host.accept());
  CHECK(proc_status_line(pid, "Uid") == "\t65534\t65534\t65534\t65534");
  CHECK(proc_status_line(pid, "Gid") == "\t65533\t65533\t65533\t65533");
  birth.pid = getpid();
  REQUIRE(send(*parent, birth));
  REQUIRE(wait_readable(*parent, 5000));
  const auto answer = receive(*parent);
  REQUIRE(answer.ok());
  REQUIRE(std::holds_alternative<NotBorn>(*answer));
  CHECK(std::get<NotBorn>(*answer).pid == getpid());
  CHECK(std::get<NotBorn>(*answer).error == EEXIST);
  REQUIRE(original.host.tell(exit_message(0)));
  CHECK(is_over(pid));
}

TEST_CASE("a damaged birth: the deputy hangs up and lives") {
  Original original;
  original.hold();
  original.convert_and_meet();
  const Birth birth = birth_of(free_pid(), "x", "x");
  auto bytes = encode(birth);
  for (const std::size_t size : {std::size_t{kBirthBytesMin} - 1, bytes.size()}) {
    bytes.back() = std::byte{'x'};  // a title without an end
    REQUIRE(::send(original.host.connection(), bytes.data(), size, 0) > 0);
    CHECK(!original.host.next());
    REQUIRE(original.host.accept());
  }
  CHECK(::kill(birth.pid, 0) != 0);
  CHECK(original.end_with(exit_message(5)) == "exited 5");
}

}  // namespace ssi::deputy
