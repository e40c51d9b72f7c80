// Connections of what stands still at the source: they send nothing any more, and what they were
// allowed to send is put right in criu's images. Owned by the source's mover thread.
#pragma once

#include <vector>

#include "migrate/move/image_dir.h"
#include "migrate/move/source_move.h"
#include "migrate/net/held_sender.h"

namespace ssi::migrate {

class HeldSenders {
 public:
  Result<> hold(const std::vector<OpenConnection>& connections);
  // After the dump.
  Result<> set_windows(const ImageDir& images) const;
  // The move was given up.
  void let_go();

 private:
  std::vector<net::HeldSender> senders_;
};

}  // namespace ssi::migrate
