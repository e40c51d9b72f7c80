#include "ssid/daemon/drain_control.h"

#include <algorithm>
#include <boost/asio/post.hpp>

namespace ssi {

void DrainControl::set_drained(NodeId node, bool drained, Done done) {
  auto proposed = group_.propose(group::SetDrained{.node = node, .drained = drained});
  if (!proposed) {
    boost::asio::post(io_, [done, error = proposed.error()] { done(error); });
    return;
  }
  asked_.push_back({node, drained, std::move(done), boost::asio::steady_timer(io_, timeout_)});
  const auto asked = std::prev(asked_.end());
  asked->timer.async_wait([this, asked](boost::system::error_code ec) {
    if (ec) return;
    finish(asked, Error(ErrorCode::kTimeout, "the cluster has not answered; ask again"));
  });
}

void DrainControl::on_event(const TableReplica::Event& event) {
  const auto* decided = std::get_if<TableReplica::Decided>(&event);
  const auto* wanted =
      decided != nullptr ? std::get_if<group::SetDrained>(&decided->operation) : nullptr;
  if (wanted == nullptr) return;
  // Equal wishes have equal answers: whose it is does not matter.
  const auto asked = std::find_if(asked_.begin(), asked_.end(), [&](const Asked& a) {
    return a.node == wanted->node && a.drained == wanted->drained;
  });
  if (asked == asked_.end()) return;  // timed out
  if (decided->applied == Applied::kAccepted) return finish(asked, {});
  finish(asked, Error(ErrorCode::kNoQuorum, "the cluster has just changed; try again"));
}

void DrainControl::finish(AskedList::iterator asked, Result<> result) {
  const Done done = std::move(asked->done);
  asked_.erase(asked);
  done(std::move(result));
}

}  // namespace ssi
