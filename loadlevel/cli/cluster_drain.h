// `cluster drain NODE`: asks, shows what happens as it happens, says what has become of it.
#pragma once

#include "loadlevel/cli/command.h"

namespace ssi::cli {

// Exit status: 0 everything that could leave has left; 1 it failed, or a guest of another node
// stays. Ends the command by itself (130) on SIGINT: ssid does not need it to go on.
int drain_node(Question question);

}  // namespace ssi::cli
