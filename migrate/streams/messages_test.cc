#include "migrate/streams/messages.h"

#include <doctest/doctest.h>

#include <vector>

using namespace ssi::migrate;

namespace {

// Cut into pieces of that size.
std::vector<std::string> assembled(std::string_view stream, std::size_t piece) {
  std::vector<std::string> messages;
  MessageAssembler assembler;
  while (!stream.empty()) {
    const auto given = stream.substr(0, piece);
    const std::size_t wanted = assembler.wanted(given);
    REQUIRE(wanted > 0);
    assembler.take(given.substr(0, wanted));
    stream.remove_prefix(wanted);
    REQUIRE_FALSE(assembler.broken());
    if (!assembler.complete()) continue;
    messages.emplace_back(assembler.message());
    assembler.next();
  }
  CHECK(assembler.bytes_begun() == 0);
  return messages;
}

}  // namespace

TEST_CASE("messages come out of a stream as they went in, however it is cut") {
  const std::vector<std::string> messages{"one", "", std::string(70'000, 'x'), "", "the last"};
  std::string stream;
  for (const std::string& message : messages) append_message(stream, message);
  for (const std::size_t piece : {1, 3, 4, 5, 7, 4096, 1 << 20}) {
    CHECK(assembled(stream, piece) == messages);
  }
}

TEST_CASE("a message whose length makes no sense") {
  MessageAssembler assembler;
  assembler.take(std::string_view("\x01\x00\x10\x00", 4));  // 1 MiB and one byte
  CHECK(assembler.broken());
  MessageAssembler longest;
  longest.take(std::string_view("\x00\x00\x10\x00", 4));
  CHECK_FALSE(longest.broken());
}

TEST_CASE("what was taken by mistake is wanted again") {
  std::string stream;
  append_message(stream, "abc");
  MessageAssembler assembler;
  assembler.take(std::string_view(stream).substr(0, 4));
  CHECK(assembler.wanted(std::string_view(stream).substr(4)) == 3);
  assembler.take("abc");
  CHECK(assembler.complete());
  assembler.untake(3);
  CHECK_FALSE(assembler.complete());
  CHECK(assembler.wanted("abcdef") == 3);
}

TEST_CASE("what is not read yet is told in bytes of the stream") {
  UnreadMessages unread;
  for (const std::size_t size : {10, 20, 0, 30}) unread.written(size);
  CHECK(unread.stream_bytes_of_all() == 60 + 4 * 4);
  CHECK(unread.stream_bytes(60) == 60 + 4 * 4);
  CHECK(unread.stream_bytes(50) == 50 + 4 * 3);
  CHECK(unread.stream_bytes(30) == 30 + 4);
  CHECK(unread.stream_bytes_of_all() == 30 + 4);
  CHECK(unread.stream_bytes(0) == 0);
  CHECK(unread.stream_bytes_of_all() == 0);
}
