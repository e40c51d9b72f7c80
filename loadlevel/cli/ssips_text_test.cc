#include "loadlevel/cli/ssips_text.h"

#include <doctest/doctest.h>
#include <stdlib.h>
#include <time.h>

#include <nlohmann/json.hpp>

namespace ssi::cli {
namespace {

using nlohmann::json;

// Two have a terminal, one has none, of one it is not known.
const json kAnswer = json::parse(R"({"self": 1, "rows": [
  {"pid":"131099","ppid":131070,"node":2,"home":2,"migs":0,"uid":1000,"pcpu":0.0,"rss_kb":90,
   "stat":"S","tty":"pts/0","age_s":27200.5,"time_s":0.01,"comm":"sh","command":"sh","loadlevel":false},
  {"pid":"70041","ppid":70000,"node":2,"home":1,"migs":3,"uid":1000,"pcpu":99.6,"pmem":2.5,
   "vsz_kb":123456,"rss_kb":65536,"stat":"R","tty":"pts/0","age_s":3600,"time_s":93784.9,"comm":"xz",
   "command":"xz -9 big\nfile","loadlevel":true},
  {"pid":"1:345","ppid":1,"node":1,"home":1,"migs":0,"uid":0,"pcpu":0.0,"rss_kb":5,"stat":"Ss",
   "tty":"","age_s":327200,"time_s":61,"comm":"sshd","command":"[sshd]","loadlevel":false},
  {"pid":"70042","ppid":70000,"node":1,"home":1,"migs":0,"uid":1001,"pcpu":1.0,"rss_kb":5,"stat":"S",
   "age_s":1,"time_s":1,"comm":"a","command":"a","loadlevel":false}]})");

std::string name_of(std::int64_t uid) { return uid == 0 ? "root" : uid == 1000 ? "ann" : ""; }
const PsAsker kAnn{.uid = 1000, .tty = "pts/0", .now_s = 1795327200, .user_name = name_of};
const PsAsker kAnnElsewhere{.uid = 1000, .tty = "", .now_s = 1795327200, .user_name = name_of};
const PsAsker kBob{.uid = 1001, .tty = "pts/7", .now_s = 1795327200, .user_name = name_of};

std::string shown(const PsOptions& options) { return ssips_text(kAnswer, options, kAnn).value(); }
std::string pids(PsOptions options, const PsAsker& asker = kAnn) {
  options.columns = {"pid"};
  options.titles = false;
  return ssips_text(kAnswer, options, asker).value();
}

}  // namespace

TEST_CASE("by default one's own processes of this terminal, as ps shows them") {
  CHECK(shown({}) ==
        "  PID NODE HOME MIGS LL TTY   STAT       TIME COMMAND\n"
        "70041    2    1    3 on pts/0 R    1-02:03:04 xz\n");
}

TEST_CASE("selection is ps's") {
  CHECK(pids({.everyone = true}) == " 1:345\n 70041\n 70042\n131099\n");
  CHECK(pids({}, kAnnElsewhere) == " 70041\n131099\n");
  CHECK(pids({}, kBob) == "70042\n");
  CHECK(pids({.without_tty = true}) == " 70041\n131099\n");
  CHECK(pids({.terminals = true}) == " 70041\n 70042\n131099\n");
  CHECK(pids({.users = {"root"}}) == "1:345\n");
  CHECK(pids({.users = {"0"}}) == "1:345\n");
  CHECK(pids({.users = {"1001"}}) == "70042\n");
  CHECK(pids({.pids = {"131099", "9"}}) == "131099\n");
  CHECK(pids({.users = {"root"}, .pids = {"131099"}}) == " 1:345\n131099\n");
}

TEST_CASE("BSD words and PIDs need no dash") {
  PsOptions options;
  REQUIRE(parse_bsd_word("aux", options).ok());
  CHECK(options.everyone);
  CHECK(options.format == PsOptions::Format::kUser);
  PsOptions pid;
  REQUIRE(parse_bsd_word("1:345", pid).ok());
  CHECK(pid.pids == std::vector<std::string>{"1:345"});
  CHECK(parse_bsd_word("q", options).error().code() == ErrorCode::kUsage);
}

TEST_CASE("the full and the user format") {
  ::setenv("TZ", "UTC", 1);
  ::tzset();
  CHECK(shown({.users = {"root", "ann", "1001"}, .format = PsOptions::Format::kFull}) ==
        "USER    PID   PPID NODE HOME MIGS LL   C START TTY         TIME COMMAND\n"
        "root  1:345      1    1    1    0 -    0 Nov18 ?       00:01:01 [sshd]\n"
        "ann   70041  70000    2    1    3 on 100 05:00 pts/0 1-02:03:04 xz -9 big?file\n"
        "1001  70042  70000    1    1    0 -    1 05:59 ?       00:00:01 a\n"
        "ann  131099 131070    2    2    0 -    0 22:26 pts/0   00:00:00 sh\n");
  CHECK(shown({.pids = {"70041", "1:345"}, .format = PsOptions::Format::kUser}) ==
        "USER   PID NODE HOME MIGS LL %CPU %MEM    VSZ   RSS TTY   STAT START       TIME COMMAND\n"
        "root 1:345    1    1    0 -   0.0    -      -     5 ?     Ss   Nov18   00:01:01 [sshd]\n"
        "ann  70041    2    1    3 on 99.6  2.5 123456 65536 pts/0 R    05:00 1-02:03:04 xz -9 "
        "big?file\n");
}

TEST_CASE("-o takes columns by name and refuses others") {
  CHECK(shown({.pids = {"70041"}, .columns = {"pid", "node", "cmd"}}) ==
        "  PID NODE COMMAND\n70041    2 xz -9 big?file\n");
  auto bad = ssips_text(kAnswer, {.columns = {"colour"}}, kAnn);
  REQUIRE(!bad.ok());
  CHECK(bad.error().code() == ErrorCode::kUsage);
}

TEST_CASE("nodes that gave no answer are named") {
  CHECK(ssips_silent(kAnswer).empty());
  CHECK(ssips_silent(json::parse(R"({"silent":[2,3]})")) == "2, 3");
}

TEST_CASE("rows of another shape are printed without a crash") {
  for (const char* odd :
       {"null", R"({"rows":[7,null,[],{}]})", R"({"rows":[{"pid":{},"uid":"x"}]})"})
    CHECK(ssips_text(json::parse(odd), {.everyone = true}, kAnn).ok());
}

}  // namespace ssi::cli
