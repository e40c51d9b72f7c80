#include "loadlevel/cli/reply.h"

#include <fmt/format.h>

#include <array>

#include "ssid/base/log.h"

namespace ssi::cli {
namespace {

const nlohmann::json* find(const nlohmann::json& object, std::string_view key) {
  if (!object.is_object()) return nullptr;
  const auto at = object.find(key);
  return at == object.end() || at->is_null() ? nullptr : &*at;
}

}  // namespace

bool has(const nlohmann::json& object, std::string_view key) {
  return find(object, key) != nullptr;
}

std::string text_at(const nlohmann::json& object, std::string_view key, std::string otherwise) {
  const auto* value = find(object, key);
  // A command's name is its owner's choice: it must not reach the terminal as control codes.
  return value != nullptr && value->is_string() ? one_line(value->get_ref<const std::string&>())
                                                : std::move(otherwise);
}

double number_at(const nlohmann::json& object, std::string_view key, double otherwise) {
  const auto* value = find(object, key);
  return value != nullptr && value->is_number() ? value->get<double>() : otherwise;
}

std::int64_t integer_at(const nlohmann::json& object, std::string_view key,
                        std::int64_t otherwise) {
  const auto* value = find(object, key);
  return value != nullptr && value->is_number_integer() ? value->get<std::int64_t>() : otherwise;
}

bool flag_at(const nlohmann::json& object, std::string_view key, bool otherwise) {
  const auto* value = find(object, key);
  return value != nullptr && value->is_boolean() ? value->get<bool>() : otherwise;
}

const nlohmann::json& list_at(const nlohmann::json& object, std::string_view key) {
  static const nlohmann::json kEmpty = nlohmann::json::array();
  const auto* value = find(object, key);
  return value != nullptr && value->is_array() ? *value : kEmpty;
}

std::string pid_at(const nlohmann::json& object, std::string_view key) {
  const auto* value = find(object, key);
  if (value != nullptr && value->is_number_integer())
    return std::to_string(value->get<std::int64_t>());
  return text_at(object, key, "?");
}

std::string bytes_text(double bytes) {
  constexpr std::array<const char*, 5> kUnits = {"B", "KiB", "MiB", "GiB", "TiB"};
  std::size_t unit = 0;
  // 1023.95 MiB is shown as 1 GiB, not as 1024.0 MiB.
  while (bytes >= 1023.95 && unit + 1 < kUnits.size()) {
    bytes /= 1024;
    ++unit;
  }
  std::string number = fmt::format("{:.1f}", bytes);
  if (number.ends_with(".0")) number.resize(number.size() - 2);
  return number + " " + kUnits[unit];
}

std::string ms_text(double ms) {
  return ms < 9.95 && ms > 0 ? fmt::format("{:.1f} ms", ms) : fmt::format("{:.0f} ms", ms);
}

}  // namespace ssi::cli
