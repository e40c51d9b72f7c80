#include "ssid/cluster/parts.h"

#include <doctest/doctest.h>

#include <random>

using namespace ssi;

namespace {

const NodeId kSender{1};
constexpr Outbox::Limits kLimits{
    .part_bytes_max = 10, .message_bytes_max = 100, .queue_bytes_max = 250};

std::vector<std::uint8_t> bytes(std::size_t n, std::uint8_t first = 0) {
  std::vector<std::uint8_t> all(n);
  for (std::size_t i = 0; i < n; ++i) all[i] = static_cast<std::uint8_t>(first + i);
  return all;
}

// Everything that the outbox will give now.
std::vector<std::vector<std::uint8_t>> drain(Outbox& out) {
  std::vector<std::vector<std::uint8_t>> frames;
  for (auto frame = out.next(); !frame.empty(); frame = out.next()) {
    frames.emplace_back(frame.begin(), frame.end());
    out.sent();
  }
  return frames;
}

}  // namespace

TEST_CASE("messages of all sizes come through, in order") {
  Outbox out(kLimits);
  Inbox in(100);
  for (std::size_t n = 0; n <= 100; ++n) {
    REQUIRE(out.push(bytes(n)).ok());
    REQUIRE(out.push(bytes(1, 77)).ok());
    std::vector<std::vector<std::uint8_t>> got;
    for (int round = 0; round < 3; ++round) {
      for (const auto& frame : drain(out)) {
        auto whole = in.add(kSender, frame);
        REQUIRE(whole.ok());
        if (*whole) got.emplace_back((*whole)->begin(), (*whole)->end());
        out.came_back(frame, whole->has_value());
      }
    }
    REQUIRE(got.size() == 2);
    CHECK(got[0] == bytes(n));
    CHECK(got[1] == bytes(1, 77));
    CHECK(out.queued_bytes() == 0);
  }
}

TEST_CASE("nothing overtakes a message of several parts") {
  Outbox out(kLimits);
  REQUIRE(out.push(bytes(25)).ok());
  REQUIRE(out.push(bytes(1)).ok());
  const auto frames = drain(out);
  REQUIRE(frames.size() == 3);
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(out.next().empty());
    out.came_back(frames[i], i == 2);
  }
  CHECK(drain(out).size() == 1);
}

TEST_CASE("the view changes between two parts: sent again, delivered once") {
  Outbox out(kLimits);
  Inbox stayed(100);
  Inbox joiner(100);
  REQUIRE(out.push(bytes(25)).ok());
  const std::vector<std::uint8_t> first(out.next().begin(), out.next().end());
  out.sent();
  const std::vector<std::uint8_t> late(out.next().begin(), out.next().end());
  out.sent();
  CHECK(!stayed.add(kSender, first).value());
  out.came_back(first, false);
  out.view_changed();
  stayed.view_changed();
  CHECK(out.next().empty());  // the second part is still on its way
  CHECK(!stayed.add(kSender, late).value());
  CHECK(!joiner.add(kSender, late).value());
  out.came_back(late, false);
  int delivered = 0;
  for (const auto& frame : drain(out)) {
    auto a = stayed.add(kSender, frame);
    auto b = joiner.add(kSender, frame);
    REQUIRE(a.ok());
    REQUIRE(b.ok());
    CHECK(a->has_value() == b->has_value());
    out.came_back(frame, a->has_value());
    if (a->has_value()) {
      ++delivered;
      CHECK(std::vector((*a)->begin(), (*a)->end()) == bytes(25));
    }
  }
  CHECK(delivered == 1);
  CHECK(out.queued_bytes() == 0);
}

TEST_CASE(
    "the view changes while all parts are still on their way: delivered once, in the new view") {
  Outbox out(kLimits);
  Inbox in(100);
  REQUIRE(out.push(bytes(25)).ok());
  const auto frames = drain(out);
  out.view_changed();
  in.view_changed();
  int delivered = 0;
  for (const auto& frame : frames) {
    auto whole = in.add(kSender, frame);
    REQUIRE(whole.ok());
    if (*whole) ++delivered;
    out.came_back(frame, whole->has_value());
  }
  CHECK(delivered == 1);
  CHECK(out.next().empty());
  CHECK(out.queued_bytes() == 0);
}

TEST_CASE("limits hold") {
  Outbox out(kLimits);
  CHECK(!out.push(bytes(101)).ok());
  CHECK(out.push(bytes(100)).ok());
  CHECK(out.push(bytes(100)).ok());
  CHECK(!out.push(bytes(51)).ok());
  CHECK(out.push(bytes(50)).ok());
  out.clear();
  CHECK(out.push(bytes(100)).ok());
  Inbox small(50);
  CHECK(!small.add(kSender, out.next()).ok());
}

TEST_CASE("garbage is refused and leaves nothing behind") {
  Inbox in(100);
  Outbox out(kLimits);
  std::mt19937 random(5);
  for (int i = 0; i < 20'000; ++i) {
    out.clear();
    REQUIRE(out.push(bytes(random() % 60)).ok());
    for (auto& frame : drain(out)) {
      if (random() % 2) frame[random() % frame.size()] = static_cast<std::uint8_t>(random());
      if (random() % 4 == 0) frame.resize(random() % frame.size() + 1);
      auto whole = in.add(kSender, frame);
      if (whole && *whole) CHECK((*whole)->size() <= 100);
    }
  }
}
