#include "migrate/criu/file_locks_image.h"

#include <cstdint>

#include "criu_images.pb.h"
#include "migrate/criu/image_entries.h"

namespace ssi::migrate {
namespace {

// Of criu's format: any image of entries, and one of locks. Kinds of locks: of a process, a lease.
// Of the type of one that is being broken.
constexpr std::uint32_t kImageMagic = 0x54564319, kFileLocksMagic = 0x54323616;
constexpr std::uint32_t kOfProcess = 1, kLease = 8;
constexpr std::uint32_t kBreaking = 4;

void add_number(std::string& image, std::uint32_t number) {
  for (int byte = 0; byte < 4; ++byte) image.push_back(static_cast<char>(number >> (8 * byte)));
}

}  // namespace

std::string locks_image(const std::vector<ProcessLock>& locks,
                        const std::vector<LeaseToTake>& leases) {
  std::string image;
  add_number(image, kImageMagic);
  add_number(image, kFileLocksMagic);
  for (const ProcessLock& lock : locks) {
    const bool to_the_end = lock.range.end == INT64_MAX;
    image::file_lock_entry entry;
    entry.set_flag(kOfProcess);
    entry.set_type(lock.range.type);
    entry.set_pid(lock.pid);
    entry.set_fd(lock.number);
    entry.set_start(static_cast<std::int64_t>(lock.range.start));
    entry.set_len(to_the_end ? 0
                             : static_cast<std::int64_t>(lock.range.end - lock.range.start + 1));
    add_entry(image, entry.SerializeAsString());
  }
  for (const LeaseToTake& taken : leases) {
    image::file_lock_entry entry;
    entry.set_flag(kLease);
    entry.set_type(taken.lease.type | (taken.lease.breaking != 0 ? kBreaking : 0));
    entry.set_pid(taken.pid);
    entry.set_fd(taken.number);
    entry.set_start(0);
    entry.set_len(0);
    add_entry(image, entry.SerializeAsString());
  }
  return image;
}

}  // namespace ssi::migrate
