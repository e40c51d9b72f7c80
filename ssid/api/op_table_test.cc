#include "ssid/api/op_table.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

namespace ssi {

TEST_CASE("who may signal a process is what kill(2) says") {
  Caller root, owner, other;
  owner.uid = 1000;
  other.uid = 1001;
  const ProcessOwner plain{.real_uid = 1000, .saved_uid = 1000};
  CHECK(may_signal(root, plain));
  CHECK(may_signal(owner, plain));
  CHECK(!may_signal(other, plain));
  // A set-user-id program that went back to its caller, and one that became root for good.
  CHECK(may_signal(other, {.real_uid = 1000, .saved_uid = 1001}));
  CHECK(!may_signal(owner, {.real_uid = 0, .saved_uid = 0}));
}

TEST_CASE("a pid argument is a number or a text, nothing else") {
  const auto pid_of = [](const char* args) { return pid_argument(nlohmann::json::parse(args)); };
  CHECK(pid_of(R"({"pid":70041})").value() == "70041");
  CHECK(pid_of(R"({"pid":"1:345"})").value() == "1:345");
  for (const char* bad : {"{}", R"({"pid":-4})", R"({"pid":1.5})", R"({"pid":null})",
                          R"({"pid":[1]})", R"({"pid":"111111111111111111111111111111111"})"})
    CHECK(pid_of(bad).error().code() == ErrorCode::kUsage);
}

TEST_CASE("the owner of a local process is read from the kernel") {
  CHECK(local_process_owner(::getpid()).value().real_uid == ::getuid());
  CHECK(local_process_owner(0x7fffffff).error().code() == ErrorCode::kGone);
}

}  // namespace ssi
