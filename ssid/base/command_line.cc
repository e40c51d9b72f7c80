#include "ssid/base/command_line.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <sstream>

#include "ssid/base/check.h"
#include "ssid/base/log.h"

namespace ssi {

std::optional<int> parse_arguments(CLI::App& app, int argc, char** argv) {
  SSI_CHECK(!app.get_name().empty());
  try {
    app.parse(argc, argv);
    return std::nullopt;
  } catch (const CLI::Success& asked) {  // --help, --version
    std::ostringstream text, nothing;
    app.exit(asked, text, nothing);
    if (std::fputs(text.str().c_str(), stdout) >= 0 && std::fflush(stdout) == 0) return 0;
    std::fprintf(stderr, "%s: write: %s\n", app.get_name().c_str(), std::strerror(errno));
    return 1;
  } catch (const CLI::ParseError& error) {
    const std::string line = app.get_name() + ": usage: " + error.what() + " (see --help)";
    std::fprintf(stderr, "%s\n", one_line(line).c_str());
    return 2;
  }
}

}  // namespace ssi
