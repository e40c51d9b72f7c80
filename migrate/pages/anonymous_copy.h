// Source side: anonymous shared memory of a unit (MAP_SHARED | MAP_ANONYMOUS), which has no name
// that anybody could open later. It is sent ahead like the rest; and what of it has changed until
// all stand still is found and sent from here, beside the dump, and not read by criu at all
// (sent_memory.h).
//
// Owned by one mover's thread; finish() by one thread in its place.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "migrate/criu/sent_memory.h"
#include "migrate/pages/page_writer.h"
#include "ssid/base/unique_fd.h"

namespace ssi::migrate {

class AnonymousCopy {
 public:
  explicit AnonymousCopy(PageWriter::Send send);

  bool has(std::uint64_t inode) const { return pieces_.contains(inode); }
  bool has_room() const { return pieces_.size() < kSentMemoryMax; }  // else it goes another way
  // `file`: the memory itself.
  void add(std::uint64_t inode, UniqueFd file);

  // Sends what the target lacks. An error: the link is broken.
  Result<> pass();
  // The same, of what nobody writes to any more; and says which pages there are.
  Result<> finish();

  // What finish() sends: of what nothing was sent ahead the target has no place for.
  std::vector<SentMemory> sent() const;
  std::uint64_t sent_bytes() const { return writer_.sent_bytes(); }
  // All that there was when it was finished.
  std::uint64_t kept_bytes() const { return kept_bytes_; }

 private:
  struct Piece {
    UniqueFd file;
    bool sent = false;
  };
  Result<> send_news(std::uint64_t inode, const Piece& piece);

  PageWriter writer_;
  std::map<std::uint64_t, Piece> pieces_;  // by their inodes
  std::vector<std::uint8_t> read_;
  std::uint64_t kept_bytes_ = 0;
};

}  // namespace ssi::migrate
