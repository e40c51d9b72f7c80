#include "migrate/criu/criu_bundle.h"

#include <filesystem>
#include <regex>
#include <sstream>

#include "ssid/base/spawn.h"

namespace ssi::migrate {
namespace fs = std::filesystem;

namespace {

// Where the dynamic loader is on this machine: what `ldd` of criu calls the interpreter.
constexpr const char* kLoader = "/lib64/ld-linux-x86-64.so.2";

Result<> copy_over(const fs::path& from, const fs::path& to) {
  std::error_code ec;
  const fs::path temporary = to.string() + ".new";
  fs::copy_file(fs::canonical(from, ec), temporary, fs::copy_options::overwrite_existing, ec);
  if (!ec) fs::rename(temporary, to, ec);
  if (ec) return Error("copy " + from.string() + " to " + to.string() + ": " + ec.message());
  return {};
}

bool up_to_date(const CriuFiles& criu, const fs::path& dir) {
  std::error_code ec;
  const auto made = fs::last_write_time(dir / "complete", ec);
  return !ec && made >= fs::last_write_time(criu.program, ec) && !ec &&
         made >= fs::last_write_time(criu.library, ec) && !ec && fs::exists(dir / kCriuLibrary, ec);
}

}  // namespace

Result<> make_criu_bundle(const CriuFiles& criu, const std::string& dir) {
  if (up_to_date(criu, dir)) return {};
  std::error_code ec;
  fs::create_directories(dir, ec);
  fs::permissions(dir, fs::perms::owner_all, ec);
  if (ec) return Error("make " + dir + ": " + ec.message());
  SSI_ASSIGN(const std::string list, run_to_end({kLoader, "--list", criu.program}));
  SSI_TRY(copy_over(criu.program, fs::path(dir) / "criu"));
  SSI_TRY(copy_over(criu.library, fs::path(dir) / kCriuLibrary));
  SSI_TRY(copy_over(kLoader, fs::path(dir) / "ld.so"));
  static const std::regex library(R"(=> (/\S+))");
  std::istringstream lines(list);
  std::smatch m;
  for (std::string line; std::getline(lines, line);) {
    if (!std::regex_search(line, m, library)) continue;
    const fs::path path(m[1].str());
    SSI_TRY(copy_over(path, fs::path(dir) / path.filename()));
  }
  // Last: a bundle that was cut off half-way is made again.
  SSI_TRY(copy_over(dir + "/ld.so", dir + "/complete"));
  return {};
}

}  // namespace ssi::migrate
