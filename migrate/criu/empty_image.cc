#include "migrate/criu/empty_image.h"

namespace ssi::migrate {

Result<std::string> only_the_head(std::string_view image) {
  constexpr std::size_t kHead = 8;  // two magic numbers
  if (image.size() < kHead) return Error("an image of criu that is cut off");
  return std::string(image.substr(0, kHead));
}

}  // namespace ssi::migrate
