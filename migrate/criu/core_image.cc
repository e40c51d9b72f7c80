#include "migrate/criu/core_image.h"

#include <cstring>

#include "criu_images.pb.h"
#include "migrate/criu/image_entries.h"

namespace ssi::migrate {
namespace {

void add_signals(const image::signal_queue_entry& queue, std::vector<int>& signals) {
  for (const auto& signal : queue.signals()) {
    int number = 0;
    if (signal.siginfo().size() < sizeof number) continue;
    std::memcpy(&number, signal.siginfo().data(), sizeof number);  // siginfo_t begins with it
    signals.push_back(number);
  }
}

}  // namespace

Result<std::vector<int>> signals_in_core(std::string_view image) {
  std::vector<int> signals;
  SSI_TRY(for_each_entry(image, "a thread", [&](std::string_view bytes) {
    image::core_entry core;
    if (!core.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return false;
    add_signals(core.tc().signals_s(), signals);
    add_signals(core.thread_core().signals_p(), signals);
    return true;
  }));
  return signals;
}

}  // namespace ssi::migrate
