// SSI_CHECK: a bug, not an operation that failed. On in release too; aborts with file, line and
// text.
#pragma once

namespace ssi {
[[noreturn]] void check_failed(const char* file, int line, const char* expression);
}

#define SSI_CHECK(expression) \
  (static_cast<bool>(expression) ? void(0) : ::ssi::check_failed(__FILE__, __LINE__, #expression))
