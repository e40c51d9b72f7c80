// Installs the staged memory in a process that criu has restored without its content: at once the
// pages that it touches, all others one after the other, until every page is in its place.
//
// Why: copying half a gigabyte takes longer than everything else of a move; so it is done while the
// process runs again. All pages are on this node before the process is restored; the source is
// never asked for anything.
//
// A process of its own, child of the realm's init: neither the end nor the restart of ssid touches
// it. The init holds the userfaultfd, too: should the pager die, the process waits (it never reads
// zeros in place of its memory) and init kills it.
//
// fork, mremap, munmap and madvise of the process come as events, in order, and the kernel refuses
// to install anything (EAGAIN) while one has not been read: so what is left to install is exactly
// known.
#pragma once

#include <chrono>
#include <cstdint>
#include <list>
#include <optional>
#include <vector>

#include "migrate/pages/staged_map.h"
#include "ssid/base/result.h"
#include "ssid/base/unique_fd.h"

namespace ssi::migrate {

struct PagerFiles {
  UniqueFd uffd;
  UniqueFd data;
  UniqueFd index;
  UniqueFd go;  // readable: the process runs, pages that it did not touch are to be installed too
};

class Pager {
 public:
  // Checks the index against the data.
  static Result<Pager> open(PagerFiles files);
  Pager(Pager&& other) noexcept;
  Pager& operator=(Pager&&) = delete;
  ~Pager();

  // Until every page is in its place, or the process has ended. An error: pages are lost.
  Result<> run();

 private:
  // A process: the restored one, or a child that it forked meanwhile.
  struct Memory {
    UniqueFd uffd;
    StagedMap left;
    // Pages that threads wait for. They are answered when all events have been read, for the kernel
    // tells of faults first: a thread that is woken too early asks again and again, and what it
    // waits for is never heard.
    std::vector<std::uint64_t> faults{};
    bool ended = false;
  };

  Pager() = default;
  Result<> take_events(Memory& memory);
  Result<> answer_faults(Memory& memory);
  Result<> on_fault(Memory& memory, std::uint64_t address);
  Result<> fill(Memory& memory, PageRange range);
  Result<> install(Memory& memory, const StagedPiece& piece);
  static void wake(const Memory& memory, std::uint64_t address);
  Result<> expect_event();
  bool filling() const;
  bool anybody_waits() const;
  Result<> wait();

  std::list<Memory> memories_;
  UniqueFd data_;
  UniqueFd go_;
  bool forked_ = false;
  bool gone_on_ = false;
  // The process has changed its mappings and is about to tell: nothing is installed before.
  bool event_due_ = false;
  std::optional<std::chrono::steady_clock::time_point> due_since_;
  std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
  std::uint8_t* mapping_ = nullptr;
  std::size_t mapping_bytes_ = 0;
};

}  // namespace ssi::migrate
