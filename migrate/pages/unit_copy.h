// Source side, before the freeze: sends the memory of a unit of several processes while they run,
// private and shared, again and again what has changed meanwhile (SentPages), until that is little.
// What is in it then need not be sent while they stand still.
//
// Owned by one mover's thread.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "migrate/pages/sent_pages.h"
#include "ssid/base/unique_fd.h"

namespace ssi::migrate {

class UnitCopy {
 public:
  using Send = std::function<Result<>(std::span<const std::uint8_t>)>;
  struct Process {
    pid_t pid = 0;    // in our PID namespace
    PageOwner owner;  // as criu will call it
  };

  UnitCopy(std::vector<Process> processes, Send send);

  // An error: the link is broken. Memory that can't be read is sent later; why_not() if all of it.
  Result<> run();
  const std::string& why_not() const { return why_not_; }
  std::uint64_t sent_bytes() const { return sent_bytes_; }
  SentPages& sent() { return sent_; }

 private:
  Result<> pass();
  Result<> send_private(const Process& process);
  Result<> send_shared(int fd, PageOwner owner);
  Result<> send_news(PageOwner owner, std::uint64_t address, std::span<const std::uint8_t> pages);
  Result<> append(PageOwner owner, std::uint64_t address, std::span<const std::uint8_t> pages);
  Result<> flush();

  const std::vector<Process> processes_;
  Send send_;
  SentPages sent_;
  std::set<std::uint64_t> anonymous_;             // inodes
  PageOwner open_{PageOwner::Kind::kProcess, 0};  // the last one named in the stream
  std::string why_not_;
  std::vector<std::uint8_t> read_;
  std::vector<std::uint8_t> buffer_;
  std::size_t used_ = 0;
  std::uint64_t sent_bytes_ = 0;
};

}  // namespace ssi::migrate
