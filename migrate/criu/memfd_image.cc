#include "migrate/criu/memfd_image.h"

#include <fcntl.h>

#include "criu_images.pb.h"
#include "migrate/criu/given_memory_name.h"
#include "migrate/criu/image_entries.h"

namespace ssi::migrate {

Result<std::string> with_given_memory(std::string_view image,
                                      const std::map<std::uint64_t, int>& given) {
  std::size_t found = 0;
  std::string other;
  SSI_ASSIGN(std::string changed, change_entries(image, "shared memory", [&](std::string& bytes) {
               image::memfd_inode_entry entry;
               if (!entry.ParseFromString(bytes)) return false;
               const auto fd = given.find(entry.shmid());
               if (fd == given.end()) return true;
               ++found;
               if (entry.name() != kAnonymousMemfdName || entry.seals() != F_SEAL_SEAL ||
                   entry.has_hugetlb_flag()) {
                 other = entry.name() + ", seals " + std::to_string(entry.seals());
               }
               std::string name = kGivenMemfdPrefix + std::to_string(fd->second);
               name.resize(kGivenMemfdNameBytes, '.');
               entry.set_name(name);
               bytes = entry.SerializeAsString();
               return true;
             }));
  if (!other.empty()) return Error("memory that was sent as anonymous is a file: " + other);
  if (found != given.size()) return Error("shared memory that was sent is not in criu's images");
  return changed;
}

}  // namespace ssi::migrate
