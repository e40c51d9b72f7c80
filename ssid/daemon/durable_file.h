// A file that is written whole, again and again, and must outlive a power cut: beside it, fsync,
// rename, fsync of the directory, on a thread of its own so that a slow disk holds up nobody.
//
// Owned by who writes; write() on the loop, `written` is called there.
#pragma once

#include <boost/asio/io_context.hpp>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "ssid/base/result.h"

namespace ssi {

class DurableFile {
 public:
  // `number` is that of the newest write() the file has now; older ones count as written, too. An
  // error: the file is as it was.
  using Written = std::function<void(std::uint64_t number, Result<>)>;

  DurableFile(boost::asio::io_context& io, std::string path, Written written);
  ~DurableFile();

  void write(std::uint64_t number, std::vector<std::uint8_t> bytes);

  // Empty: there is none.
  static Result<std::vector<std::uint8_t>> read(const std::string& path, std::size_t bytes_max);

 private:
  struct Job {
    std::uint64_t number;
    std::vector<std::uint8_t> bytes;
  };
  void run();

  boost::asio::io_context& io_;
  const std::string path_;
  const Written written_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::optional<Job> next_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace ssi
