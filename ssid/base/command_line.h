// How every program of ssid reads its command line: help goes to stdout, wrong usage is one line on
// stderr and exit status 2.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>

namespace ssi {

// nullopt: go on. Else the program ends with this status: 0 when --help or --version was printed (1
// if it could not be), 2 after the line `NAME: usage: WHY (see --help)`. NAME is app.get_name(),
// which must be set.
std::optional<int> parse_arguments(CLI::App& app, int argc, char** argv);

}  // namespace ssi
