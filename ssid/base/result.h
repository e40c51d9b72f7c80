// Result<T>: a value, or an Error that says in words what failed. Libraries return it; the daemon
// logs once, at the place that decides. Context is put in front on the way up with `.context("open
// pagemap")`.
#pragma once

#include <cerrno>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "ssid/base/check.h"

namespace ssi {

// A code exists only where a caller acts differently on it.
enum class ErrorCode {
  kFailed,    // the operation failed; the message says why
  kGone,      // the process (or peer) does not exist any more; expected at any time
  kRefused,   // it can't be done to this object, with a reason in plain words (cantmove)
  kDenied,    // the caller may not
  kNoQuorum,  // the cluster may not change anything now
  kUsage,     // wrong arguments
  kTimeout,   // no answer in time
  kBusy,      // not now: the same, asked again in a moment, may be done
};
inline constexpr ErrorCode kErrorCodeMax = ErrorCode::kBusy;

class [[nodiscard]] Error {
 public:
  Error(ErrorCode code, std::string message) : code_(code), message_(std::move(message)) {}
  explicit Error(std::string message) : Error(ErrorCode::kFailed, std::move(message)) {}

  // "WHAT: No such file or directory"; ESRCH becomes kGone.
  static Error from_errno(std::string_view what, int err = errno) {
    return Error(err == ESRCH ? ErrorCode::kGone : ErrorCode::kFailed,
                 std::string(what) + ": " + std::strerror(err));
  }

  ErrorCode code() const { return code_; }
  const std::string& message() const { return message_; }

  Error context(std::string_view what) && {
    message_ = std::string(what) + ": " + message_;
    return std::move(*this);
  }

 private:
  ErrorCode code_;
  std::string message_;
};

template <typename T = void>
class [[nodiscard]] Result {
 public:
  Result(T value)
      : state_(std::in_place_index<0>, std::move(value)) {}  // NOLINT: implicit on purpose
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}  // NOLINT

  explicit operator bool() const { return state_.index() == 0; }
  bool ok() const { return state_.index() == 0; }

  T& value() & {
    SSI_CHECK(ok());
    return std::get<0>(state_);
  }
  const T& value() const& {
    SSI_CHECK(ok());
    return std::get<0>(state_);
  }
  T&& value() && {
    SSI_CHECK(ok());
    return std::get<0>(std::move(state_));
  }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  T value_or(T other) const& { return ok() ? std::get<0>(state_) : std::move(other); }

  const Error& error() const& {
    SSI_CHECK(!ok());
    return std::get<1>(state_);
  }
  Error&& error() && {
    SSI_CHECK(!ok());
    return std::get<1>(std::move(state_));
  }

  Result context(std::string_view what) && {
    if (ok()) return std::move(*this);
    return std::get<1>(std::move(state_)).context(what);
  }

 private:
  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)) {}  // NOLINT: implicit on purpose

  explicit operator bool() const { return !error_; }
  bool ok() const { return !error_; }
  const Error& error() const& {
    SSI_CHECK(error_.has_value());
    return *error_;
  }
  Error&& error() && {
    SSI_CHECK(error_.has_value());
    return std::move(*error_);
  }

  Result context(std::string_view what) && {
    if (ok()) return {};
    return std::move(*error_).context(what);
  }

 private:
  std::optional<Error> error_;
};

}  // namespace ssi

#define SSI_CONCAT_(a, b) a##b
#define SSI_CONCAT(a, b) SSI_CONCAT_(a, b)

// SSI_TRY(do_it());                    returns the error from the calling function
#define SSI_TRY(expr)                                                \
  do {                                                               \
    auto ssi_try_result_ = (expr);                                   \
    if (!ssi_try_result_) return std::move(ssi_try_result_).error(); \
  } while (0)

// SSI_ASSIGN(auto fd, open_it());      declares `fd` or returns the error
#define SSI_ASSIGN(decl, expr) SSI_ASSIGN_(decl, expr, SSI_CONCAT(ssi_result_, __LINE__))
#define SSI_ASSIGN_(decl, expr, tmp)       \
  auto tmp = (expr);                       \
  if (!tmp) return std::move(tmp).error(); \
  decl = std::move(tmp).value()
