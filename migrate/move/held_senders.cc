#include "migrate/move/held_senders.h"

#include "migrate/criu/tcp_image.h"
#include "migrate/fds/descriptor.h"

namespace ssi::migrate {

Result<> HeldSenders::hold(const std::vector<OpenConnection>& connections) {
  for (const auto& [pid, number] : connections) {
    SSI_ASSIGN(UniqueFd socket, fds::descriptor_of(pid, number));
    SSI_ASSIGN(auto held, net::HeldSender::hold(std::move(socket)));
    if (held) senders_.push_back(std::move(*held));
  }
  return {};
}

Result<> HeldSenders::set_windows(const ImageDir& images) const {
  for (const net::HeldSender& sender : senders_) {
    SSI_TRY(images.change(tcp_image_name(sender.inode()), [&](std::string_view image) {
      return with_window(image, sender.window_bytes());
    }));
  }
  return {};
}

void HeldSenders::let_go() {
  for (const net::HeldSender& sender : senders_) (void)sender.let_go();
  senders_.clear();
}

}  // namespace ssi::migrate
