// corosync's error numbers in words, and what to do about them.
#pragma once

#include <corosync/corotypes.h>

#include <string>
#include <string_view>

#include "ssid/base/result.h"

namespace ssi {

inline Error corosync_error(std::string_view what, cs_error_t code) {
  const char* why = "corosync refuses";
  switch (code) {
    case CS_ERR_LIBRARY:
    case CS_ERR_BAD_HANDLE:
      why = "corosync is not running";
      break;
    case CS_ERR_TRY_AGAIN:
      why = "corosync is busy";
      break;
    case CS_ERR_ACCESS:
    case CS_ERR_SECURITY:
      why = "corosync does not let us in (not root?)";
      break;
    case CS_ERR_NO_MEMORY:
    case CS_ERR_NO_RESOURCES:
      why = "corosync is out of memory";
      break;
    case CS_ERR_NOT_EXIST:
      why = "not there";
      break;
    case CS_ERR_EXIST:
      why = "there already";
      break;
    case CS_ERR_TIMEOUT:
      why = "corosync does not answer";
      break;
    default:
      break;
  }
  return Error(std::string(what) + ": " + why + " (" + std::to_string(static_cast<int>(code)) +
               ")");
}

inline bool try_again(cs_error_t code) {
  return code == CS_ERR_TRY_AGAIN || code == CS_ERR_QUEUE_FULL;
}

}  // namespace ssi
