#include "ssid/base/check.h"

#include <cstdio>
#include <cstdlib>

namespace ssi {

void check_failed(const char* file, int line, const char* expression) {
  std::fprintf(stderr, "ssid: %s:%d: check failed: %s\n", file, line, expression);
  std::abort();
}

}  // namespace ssi
