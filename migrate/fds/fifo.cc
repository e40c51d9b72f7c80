#include "migrate/fds/fifo.h"

#include <string_view>

namespace ssi::fds {
namespace {

constexpr char kWriteEnd[] = ">";

}  // namespace

FifoWay way_of(const Fifo& fifo) {
  if (fifo.nameless && !fifo.held_by_others) return FifoWay::kTakeAlong;
  return fifo.both_directions || fifo.unread ? FifoWay::kStays : FifoWay::kStream;
}

std::string why_fifo_stays(const Fifo& fifo) {
  if (way_of(fifo) != FifoWay::kStays) return {};
  return fifo.both_directions
             ? "a named pipe opened for reading and writing at once (O_RDWR), which others at home "
               "can use, too"
             : "a named pipe to write to that nobody reads now";
}

std::string key_of_fifo_end(const std::string& criu_key, bool write_end) {
  return write_end ? criu_key + kWriteEnd : criu_key;
}

std::string criu_key_of_fifo(const std::string& end_key) {
  const std::string_view key = end_key;
  return std::string(key.ends_with(kWriteEnd) ? key.substr(0, key.size() - 1) : key);
}

}  // namespace ssi::fds
