#include "migrate/streams/closing.h"

#include <doctest/doctest.h>

#include <chrono>
#include <future>

using ssi::migrate::Closing;

TEST_CASE("nobody waits for what closes slowly, and threads that are done are joined") {
  Closing closing;
  std::promise<void> go;
  std::atomic<int> closed = 0;
  closing.start([&, wait = go.get_future().share()] {
    wait.wait();
    ++closed;
  });
  for (int i = 0; i < 100; ++i) {
    closing.start([&] { ++closed; });
    while (closed <= i) std::this_thread::yield();
  }
  CHECK(closing.size() <=
        3);  // the slow one, the last, and one that is about to say that it is done
  go.set_value();
  closing.wait();
  CHECK(closed == 101);
  CHECK(closing.size() == 0);
}

TEST_CASE("what is held for the closing ends with it") {
  Closing closing;
  auto held = std::make_shared<int>(1);
  const std::weak_ptr<int> seen = held;
  closing.start([held = std::move(held)] {});
  closing.wait();
  CHECK(seen.expired());
}
