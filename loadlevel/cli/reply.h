// Reading ssid's JSON answers for printing: what is not there, or null, has a default. Pure.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace ssi::cli {

std::string text_at(const nlohmann::json& object, std::string_view key, std::string otherwise = "");
double number_at(const nlohmann::json& object, std::string_view key, double otherwise = 0);
std::int64_t integer_at(const nlohmann::json& object, std::string_view key,
                        std::int64_t otherwise = 0);
bool flag_at(const nlohmann::json& object, std::string_view key, bool otherwise = false);
bool has(const nlohmann::json& object, std::string_view key);
// An empty array if there is none.
const nlohmann::json& list_at(const nlohmann::json& object, std::string_view key);
// A process id, which comes as a number or as "1:345".
std::string pid_at(const nlohmann::json& object, std::string_view key = "pid");

// "512 B", "64 MiB", "1.5 GiB"
std::string bytes_text(double bytes);
// "41 ms", "0.4 ms"
std::string ms_text(double ms);

}  // namespace ssi::cli
