#include "migrate/fds/fifo.h"

#include <charconv>
#include <string_view>

namespace ssi::fds {
namespace {

constexpr char kWriteEnd[] = ">";

}  // namespace

FifoWay way_of(const Fifo& fifo) {
  const bool goes_along = fifo.nameless || (fifo.both_directions && !fifo.not_there);
  if (goes_along && !fifo.held_by_others) return FifoWay::kTakeAlong;
  return fifo.both_directions || fifo.unread ? FifoWay::kStays : FifoWay::kStream;
}

std::string why_fifo_stays(const Fifo& fifo, const std::string& holders) {
  if (way_of(fifo) != FifoWay::kStays) return {};
  if (!fifo.both_directions) return "a named pipe to write to that nobody reads now";
  return std::string("a named pipe opened for reading and writing at once (O_RDWR) ") +
         (fifo.held_by_others ? "that process " + holders + " has open, too"
                              : "in /dev, of which guests have another");
}

std::string key_of_fifo_end(const std::string& criu_key, bool write_end) {
  return write_end ? criu_key + kWriteEnd : criu_key;
}

std::string criu_key_of_fifo(const std::string& end_key) {
  const std::string_view key = end_key;
  return std::string(key.ends_with(kWriteEnd) ? key.substr(0, key.size() - 1) : key);
}

std::optional<std::uint32_t> inode_of_fifo(const std::string& key) {
  const std::size_t colon = key.find(':');
  if (colon == std::string::npos) return {};
  std::uint64_t inode = 0;
  const auto [end, bad] =
      std::from_chars(key.data() + colon + 1, key.data() + key.size(), inode, 16);
  if (bad != std::errc{} || end == key.data() + key.size() || *end != ']') return {};
  return static_cast<std::uint32_t>(inode);
}

}  // namespace ssi::fds
