#include "ssid/daemon/durable_file.h"

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

using namespace ssi;

namespace {

struct Directory {
  Directory() { REQUIRE(::mkdtemp(path.data()) != nullptr); }
  ~Directory() { std::filesystem::remove_all(path); }
  std::string path = "/tmp/durable_file_test.XXXXXX";
};

std::vector<std::uint8_t> bytes(const std::string& text) { return {text.begin(), text.end()}; }

// Runs the loop until `number` has been told, well or not; the last result.
struct Writer {
  explicit Writer(const std::string& path)
      : file(io, path, [this](std::uint64_t number, Result<> result) {
          told = number;
          last = std::move(result);
        }) {}
  Result<> write(std::uint64_t number, const std::string& text) {
    file.write(number, bytes(text));
    const auto work = boost::asio::make_work_guard(io);
    io.restart();
    while (told != number) io.run_one();
    return last;
  }
  boost::asio::io_context io;
  std::uint64_t told = 0;
  Result<> last;
  DurableFile file;
};

}  // namespace

TEST_CASE("durable file: what was told to be written is there, nothing beside it") {
  const Directory directory;
  const std::string path = directory.path + "/state";
  Writer writer(path);
  CHECK(DurableFile::read(path, 100)->empty());
  CHECK(writer.write(1, "first, the longer one"));
  CHECK(writer.write(2, "second"));
  CHECK(*DurableFile::read(path, 100) == bytes("second"));
  struct stat status {};
  REQUIRE(::stat(path.c_str(), &status) == 0);
  CHECK((status.st_mode & 0777) == 0600);
  CHECK(std::distance(std::filesystem::directory_iterator(directory.path), {}) == 1);
  CHECK_FALSE(DurableFile::read(path, 5));
}

TEST_CASE("durable file: a disk that refuses leaves the old text and says why") {
  const Directory directory;
  const std::string path = directory.path + "/state";
  Writer writer(path);
  CHECK(writer.write(1, "old"));
  std::filesystem::create_directory(path + ".new");  // where the new text would be put first
  const auto refused = writer.write(2, "new");
  REQUIRE_FALSE(refused);
  CHECK(refused.error().message() == "create " + path + ".new: Is a directory");
  CHECK(*DurableFile::read(path, 100) == bytes("old"));
  std::filesystem::remove(path + ".new");
  CHECK(writer.write(3, "new"));
  CHECK(*DurableFile::read(path, 100) == bytes("new"));
}

TEST_CASE("durable file: of many at once the newest counts for all") {
  const Directory directory;
  const std::string path = directory.path + "/state";
  Writer writer(path);
  for (std::uint64_t i = 1; i < 200; ++i) writer.file.write(i, bytes(std::to_string(i)));
  CHECK(writer.write(200, "200"));
  CHECK(*DurableFile::read(path, 100) == bytes("200"));
}
