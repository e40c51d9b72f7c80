// Source side, before the freeze: sends the memory of a unit of several processes while they run,
// private and shared, again and again what has changed meanwhile (SentPages), until that is little.
// What is in it then need not be sent while they stand still.
//
// Owned by one mover's thread.
#pragma once

#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "migrate/pages/anonymous_copy.h"
#include "migrate/pages/page_writer.h"

namespace ssi::migrate {

class UnitCopy {
 public:
  struct Process {
    pid_t pid = 0;    // in our PID namespace
    PageOwner owner;  // as criu will call it
  };

  // `send`: called by whoever calls run(), or finish() of anonymous().
  UnitCopy(std::vector<Process> processes, const PageWriter::Send& send);

  // An error: the link is broken. Memory that can't be read is sent later; why_not() if all of it.
  Result<> run();
  const std::string& why_not() const { return why_not_; }
  std::uint64_t sent_bytes() const { return writer_.sent_bytes() + anonymous_.sent_bytes(); }
  SentPages& sent() { return writer_.sent(); }
  AnonymousCopy& anonymous() { return anonymous_; }
  const AnonymousCopy& anonymous() const { return anonymous_; }

 private:
  Result<> pass();
  Result<> send_private(const Process& process);
  Result<> send_shared(int file, PageOwner owner);

  const std::vector<Process> processes_;
  PageWriter writer_;
  AnonymousCopy anonymous_;
  std::string why_not_;
  std::vector<std::uint8_t> read_;
};

}  // namespace ssi::migrate
