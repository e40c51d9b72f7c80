#include "loadlevel/cli/command.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <thread>

#include "ssid/wire/api_message.h"
#include "ssid/wire/unix_socket.h"

namespace ssi::cli {
namespace {

using nlohmann::json;

// The commands as they are built, beside this test.
std::string program(const std::string& name) {
  std::array<char, 4096> path{};
  const ssize_t n = ::readlink("/proc/self/exe", path.data(), path.size() - 1);
  REQUIRE(n > 0);
  const std::string self(path.data(), static_cast<std::size_t>(n));
  return self.substr(0, self.rfind('/') + 1) + name;
}

struct Ran {
  int status = -1;
  std::string out, err;
};

std::string drain(int fd) {
  std::string text;
  std::array<char, 4096> buffer{};
  for (ssize_t n; (n = ::read(fd, buffer.data(), buffer.size())) > 0;)
    text.append(buffer.data(), static_cast<std::size_t>(n));
  return text;
}

Ran run(std::vector<std::string> argv, const std::string& socket) {
  const std::string path = program(argv[0]);
  int out[2], err[2];
  REQUIRE((::pipe2(out, O_CLOEXEC) == 0 && ::pipe2(err, O_CLOEXEC) == 0));
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::dup2(out[1], 1);
    ::dup2(err[1], 2);
    ::setenv("SSID_SOCKET", socket.c_str(), 1);
    std::vector<char*> words;
    for (auto& word : argv) words.push_back(word.data());
    words.push_back(nullptr);
    ::execv(path.c_str(), words.data());
    ::_exit(126);
  }
  ::close(out[1]);
  ::close(err[1]);
  Ran ran;
  std::thread errors([&] { ran.err = drain(err[0]); });
  ran.out = drain(out[0]);
  errors.join();
  ::close(out[0]);
  ::close(err[0]);
  int status = 0;
  REQUIRE(::waitpid(pid, &status, 0) == pid);
  ran.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return ran;
}

// The other end of the socket: answers one request with given replies, remembers what it was asked.
struct OneAnswer {
  std::string dir = "/tmp/ssid-cli-XXXXXX";
  std::optional<UnixListener> listener;
  ApiRequest asked;
  pid_t asked_by = 0;
  std::thread thread;

  explicit OneAnswer(std::vector<ApiReply> replies) {
    REQUIRE(::mkdtemp(dir.data()) != nullptr);
    listener = std::move(UnixListener::listen(dir + "/s", UnixType::kStream, 0600)).value();
    thread = std::thread([this, replies = std::move(replies)] {
      auto fd = listener->accept(10'000);
      if (!fd) return;
      if (auto caller = caller_of(**fd)) asked_by = caller->pid;
      FrameReader reader(kApiRequestLimits);
      Frame frame;
      while (!reader.take(frame).value_or(true)) {
        auto piece = unix_recv(**fd, 65536, 0, 10'000);
        if (!piece) return;
        reader.add(piece->bytes);
      }
      asked = decode_request(frame.payload).value_or({});
      for (const auto& reply : replies)
        (void)unix_send(**fd, serialise_frame(kApiReplyFrame, encode(reply)), {}, 10'000).ok();
    });
  }
  ~OneAnswer() {
    if (thread.joinable()) thread.join();
    listener.reset();
    ::rmdir(dir.c_str());
  }
  Ran ask(std::vector<std::string> argv) {
    Ran ran = run(std::move(argv), dir + "/s");
    thread.join();
    return ran;
  }
  json args() const { return json::parse(asked.args_json); }
};

ApiReply answer(const char* text, bool more = false) {
  return {.code = ApiCode::kDone, .error = "", .json = text, .more = more};
}

}  // namespace

TEST_CASE("a failure is one line: name, what, why") {
  CHECK(failure_line("migrate", "70041", Error("a device is open")) ==
        "migrate: 70041: a device is open");
  CHECK(failure_line("migrate", "70041", Error("70041: a device is open")) ==
        "migrate: 70041: a device is open");
  CHECK(failure_line("cluster", "", Error("x\ny")) == "cluster: x?y");
}

TEST_CASE("help goes to stdout, wrong usage is one line on stderr and status 2") {
  for (const char* name :
       {"cluster", "migrate", "loadlevel", "ssips", "ssid", "ssid-carrier", "ssid-realm"}) {
    CAPTURE(name);
    CHECK(run({name, "-h"}, "/nonexistent").status == 0);
    const Ran help = run({name, "--help"}, "/nonexistent");
    CHECK(help.status == 0);
    CHECK(help.out.find("Usage:") != std::string::npos);
    const Ran wrong = run({name, "--no-such-option"}, "/nonexistent");
    CHECK(wrong.status == 2);
    CHECK(wrong.out.empty());
    CHECK(wrong.err.starts_with(std::string(name) + ": usage: "));
    CHECK(wrong.err.find('\n') == wrong.err.size() - 1);
  }
  CHECK(run({"ssid", "--version"}, "/nonexistent").status == 0);
  CHECK(run({"ssid-carrier", "--port", "70000"}, "/nonexistent").status == 2);
  CHECK(run({"ssid-carrier", "word"}, "/nonexistent").status == 2);
  CHECK(run({"ssid-realm"}, "/nonexistent").status == 2);
  CHECK(run({"migrate", "70041"}, "/nonexistent").status == 2);
  CHECK(run({"loadlevel"}, "/nonexistent").status == 2);
  CHECK(run({"cluster", "drain"}, "/nonexistent").status == 2);
  CHECK(run({"loadlevel", "add", "bin/xz"}, "/nonexistent").err ==
        "loadlevel: bin/xz: not an absolute path\n");
  CHECK(run({"ssips", "-o", "colour"}, "/nonexistent").status == 2);
}

TEST_CASE("without ssid every command says so with status 1") {
  for (std::vector<std::string> argv :
       std::vector<std::vector<std::string>>{{"cluster"},
                                             {"cluster", "events", "-f"},
                                             {"cluster", "drain", "2"},
                                             {"migrate", "7", "2"},
                                             {"loadlevel", "status"},
                                             {"loadlevel", "run", "true"},
                                             {"ssips"}}) {
    const Ran ran = run(argv, "/nonexistent");
    CHECK(ran.status == 1);
    CHECK(ran.err.starts_with(argv[0] + ": "));
    CHECK(ran.err.ends_with(
        "ssid is not running: connect /nonexistent: No such file or directory\n"));
    CHECK(ran.out.empty());
  }
}

TEST_CASE("cluster asks for the status and prints it, as text or as JSON") {
  const char* status = R"({"nodes":[{"id":1,"state":"UP"},{"id":2,"state":"UP"}]})";
  OneAnswer plain({answer(status)});
  CHECK(plain.ask({"cluster"}).out == "1: UP 2: UP\n");
  CHECK(plain.asked.op == "cluster.status");
  OneAnswer as_json({answer(status)});
  CHECK(json::parse(as_json.ask({"cluster", "--json"}).out) == json::parse(status));
}

TEST_CASE("events come one a line as they happen, until ssid ends") {
  ::setenv("TZ", "UTC", 1);
  const char* up = R"({"time_ms":0,"text":"node 2 joined"})";
  const char* down = R"({"text":"node 2 left"})";
  OneAnswer followed({answer(up, true), answer(down, true), answer("{}")});
  const Ran ran = followed.ask({"cluster", "events", "-f"});
  CHECK(ran.status == 0);
  CHECK(ran.out == "1970-01-01 00:00:00 node 2 joined\nnode 2 left\n");
  CHECK(followed.args() == json::parse(R"({"follow":true})"));
  OneAnswer past({answer(R"({"events":[{"text":"node 2 joined"}]})")});
  CHECK(past.ask({"cluster", "events"}).out == "node 2 joined\n");
  CHECK(past.args() == json::parse(R"({"follow":false})"));
  OneAnswer cut({answer(up, true)});
  const Ran broken = cut.ask({"cluster", "events", "--json", "-f"});
  CHECK(json::parse(broken.out.substr(0, broken.out.find('\n'))) == json::parse(up));
  CHECK(broken.status == 1);
  CHECK(broken.err == "cluster: ssid closed the connection\n");
}

TEST_CASE("cluster drain prints a line a process and the sum; 1 if a guest stays") {
  const char* part = R"({"pid":"70041","from":2,"to":1,"frozen_ms":41.4,"memory_bytes":67108864,
                         "progress":{"moved":1,"to_go":0,"total":1}})";
  const char* done = R"({"node":2,"up":true,"moved":[{}],"staying":[],"guests_left":0})";
  OneAnswer drained({answer(R"({"node":2,"drained":true})", true), answer(part, true),
                     answer(R"({"progress":{"moved":1,"to_go":0,"total":1}})", true),
                     answer(done)});
  const Ran ran = drained.ask({"cluster", "drain", "2"});
  CHECK(ran.status == 0);
  CHECK(ran.out ==
        "70041: 2 -> 1, frozen 41 ms, 64 MiB\n"
        "node 2 is drained: 1 moved, none stays; `cluster bring 2` opens it again\n");
  CHECK(ran.err.empty());
  CHECK(drained.asked.op == "cluster.drain");
  CHECK(drained.args() == json::parse(R"({"node":"2"})"));
  OneAnswer as_json({answer(part, true), answer(done)});
  CHECK(json::parse(as_json.ask({"cluster", "drain", "2", "--json"}).out) == json::parse(done));
  OneAnswer left(
      {answer(R"({"node":2,"guests_left":1,"staying":[{"pid":"70041","reason":"no"}]})")});
  CHECK(left.ask({"cluster", "drain", "2"}).status == 1);
  OneAnswer cut({answer(R"({"node":2,"drained":true})", true)});
  const Ran broken = cut.ask({"cluster", "drain", "2"});
  CHECK(broken.status == 1);
  CHECK(broken.err == "cluster: drain 2: ssid closed the connection\n");
  OneAnswer opened({answer(R"({"node":2,"drained":false})")});
  CHECK(opened.ask({"cluster", "bring", "n2"}).out == "node 2 takes guests again\n");
  CHECK(opened.asked.op == "cluster.bring");
  CHECK(opened.args() == json::parse(R"({"node":"n2"})"));
}

TEST_CASE("migrate passes what was typed, shows progress on stderr and the result on stdout") {
  OneAnswer moved(
      {answer(R"({"pid":70041,"waiting":"it is being moved"})", true),
       answer(R"({"pid":70041,"from":1,"to":2,"frozen_ms":41.4,"memory_bytes":67108864})")});
  const Ran ran = moved.ask({"migrate", "70041", "best", "--wait"});
  CHECK(ran.status == 0);
  CHECK(ran.out == "70041: 1 -> 2, frozen 41 ms, 64 MiB\n");
  CHECK(ran.err == "70041: waiting: it is being moved\n");
  CHECK(moved.asked.op == "migrate");
  CHECK(moved.args() ==
        json::parse(R"({"pid":"70041","node":"best","tree":false,"dry_run":false,"wait":true})"));
}

TEST_CASE("ssid's reason reaches the user, with --json its details too") {
  const ApiReply refused{.code = ApiCode::kRefused,
                         .error = "a device is open",
                         .json = R"({"log":"/var/log/x"})",
                         .more = false};
  OneAnswer text({refused});
  const Ran ran = text.ask({"migrate", "70041", "2"});
  CHECK(ran.status == 1);
  CHECK(ran.out.empty());
  CHECK(ran.err == "migrate: 70041: a device is open\n");
  OneAnswer details({refused});
  const Ran as_json = details.ask({"migrate", "70041", "2", "--json"});
  CHECK(as_json.status == 1);
  CHECK(json::parse(as_json.out) ==
        json::parse(R"({"log":"/var/log/x","error":"a device is open","code":"refused"})"));
  OneAnswer usage({{.code = ApiCode::kUsage, .error = "no such node", .json = "", .more = false}});
  CHECK(usage.ask({"migrate", "70041", "9"}).status == 2);
}

TEST_CASE("loadlevel run enables itself and becomes the command with its PID") {
  OneAnswer enabled({answer(R"({"pid":1,"enabled":true})")});
  const Ran ran = enabled.ask({"loadlevel", "run", "sh", "-c", "echo $$; exit 7", "--json"});
  CHECK(ran.status == 7);
  CHECK(enabled.asked.op == "loadlevel.enable");
  CHECK(enabled.asked_by > 0);
  CHECK(enabled.args()["pid"] == enabled.asked_by);
  CHECK(ran.out == std::to_string(enabled.asked_by) + "\n");
  OneAnswer denied({{.code = ApiCode::kDenied, .error = "no", .json = "", .more = false}});
  const Ran refused = denied.ask({"loadlevel", "run", "--", "sh", "-c", "echo started"});
  CHECK(refused.status == 1);
  CHECK(refused.out.empty());
  OneAnswer missing({answer(R"({"enabled":true})")});
  CHECK(missing.ask({"loadlevel", "run", "no-such-command-here"}).err ==
        "loadlevel: no-such-command-here: No such file or directory\n");
}

TEST_CASE("loadlevel's sub-commands are ops of the same name") {
  const auto op_of = [](std::vector<std::string> argv, const char* reply) {
    OneAnswer one({answer(reply)});
    argv.insert(argv.begin(), "loadlevel");
    CHECK(one.ask(argv).status == 0);
    return one.asked.op + " " + one.asked.args_json;
  };
  CHECK(op_of({"enable", "70041"}, "{}") == R"(loadlevel.enable {"pid":"70041"})");
  CHECK(op_of({"disable", "1:345"}, "{}") == R"(loadlevel.disable {"pid":"1:345"})");
  CHECK(op_of({"status"}, "{}") == "loadlevel.status {}");
  CHECK(op_of({"status", "70041"}, "{}") == R"(loadlevel.status {"pid":"70041"})");
  CHECK(op_of({"why", "70041"}, "{}") == R"(loadlevel.why {"pid":"70041"})");
  CHECK(op_of({"on"}, "{}") == "loadlevel.on {}");
  CHECK(op_of({"off", "-n", "2"}, "{}") == R"(loadlevel.off {"node":"2"})");
  CHECK(op_of({"off", "-n", ""}, "{}") == R"(loadlevel.off {"node":""})");
  CHECK(op_of({"on", "--node", "n2"}, "{}") == R"(loadlevel.on {"node":"n2"})");
  CHECK(op_of({"add", "/usr/bin/xz"}, "{}") == R"(loadlevel.add {"path":"/usr/bin/xz"})");
  CHECK(op_of({"remove", "/usr/bin/xz"}, "{}") == R"(loadlevel.remove {"path":"/usr/bin/xz"})");
  CHECK(op_of({"list"}, R"({"paths":["/usr/bin/xz"]})") == "loadlevel.list {}");
}

TEST_CASE("ssips understands ps's ways of asking") {
  const char* rows =
      R"({"self":1,"rows":[{"pid":70041,"node":2,"home":1,"migs":3,"uid":65534,
          "stat":"R","time_s":5,"comm":"xz","command":"xz -9","loadlevel":true}]})";
  for (std::vector<std::string> argv :
       std::vector<std::vector<std::string>>{{"ssips", "-e"},
                                             {"ssips", "-ef"},
                                             {"ssips", "aux"},
                                             {"ssips", "-p", "70041"},
                                             {"ssips", "-p", "1,70041"},
                                             {"ssips", "70041"},
                                             {"ssips", "-u", "nobody"},
                                             {"ssips", "-A", "-o", "pid,node,cmd"}}) {
    OneAnswer one({answer(rows)});
    const Ran ran = one.ask(argv);
    CAPTURE(ran.err);
    CHECK(ran.status == 0);
    CHECK(ran.out.find("70041") != std::string::npos);
  }
  OneAnswer other({answer(rows)});
  CHECK(other.ask({"ssips", "-u", "somebody"}).out.find("70041") == std::string::npos);
}

}  // namespace ssi::cli
