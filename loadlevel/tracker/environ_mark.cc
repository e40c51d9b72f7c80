#include "loadlevel/tracker/environ_mark.h"

#include <fcntl.h>
#include <unistd.h>

#include <string_view>

#include "ssid/base/unique_fd.h"

namespace ssi {

bool has_environ_mark(const std::string& proc_root, pid_t pid) {
  const std::string path = proc_root + "/" + std::to_string(pid) + "/environ";
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return false;
  std::string text(128 * 1024, '\0');
  std::size_t size = 0;
  while (size < text.size()) {
    const ssize_t got = ::read(*fd, text.data() + size, text.size() - size);
    if (got <= 0) break;
    size += static_cast<std::size_t>(got);
  }
  const std::string mark = std::string(kEnvironMarkName) + "=" + kEnvironMarkValue;
  for (std::string_view rest(text.data(), size); !rest.empty();) {
    const auto variable = rest.substr(0, rest.find('\0'));
    if (variable == mark) return true;
    rest.remove_prefix(std::min(variable.size() + 1, rest.size()));
  }
  return false;
}

}  // namespace ssi
