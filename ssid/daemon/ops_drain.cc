// cluster.drain and cluster.bring: the group decides that a node is closed or open; its planner
// does the rest. Who asked for a drain is told what its planner has come to, asked again and again.
#include <unistd.h>

#include <boost/asio/steady_timer.hpp>

#include "ssid/daemon/ops.h"

namespace ssi::ops {
namespace {

constexpr auto kAskTimeout = std::chrono::seconds(5);
constexpr auto kAskEvery = std::chrono::milliseconds(250);
constexpr auto kAbsenceMax = std::chrono::seconds(15);  // an ssid is restarted, a link flaps

Result<NodeId> wanted_node(OpContext& context, const json& args) {
  const auto text = node_argument(args);
  if (!text) return Error(ErrorCode::kUsage, "which node?");
  return node_of(context, *text, {});
}

// One `cluster drain` that somebody watches; lives until it has answered, or nobody listens.
class DrainWatch : public std::enable_shared_from_this<DrainWatch> {
 public:
  DrainWatch(OpContext& context, NodeId node, std::shared_ptr<Responder> responder)
      : context_(context), node_(node), responder_(std::move(responder)), timer_(context.io) {}

  void start() {
    if (!context_.group.view().has(node_)) return finish(json::array(), false);
    ask();
  }

 private:
  void ask() {
    json args = json::object();
    if (cursor_) args.update({{"since", *cursor_}, {"ssid", ssid_}});
    auto answered = [self = shared_from_this()](Result<json> answer) { self->on_answer(answer); };
    if (node_ == context_.group.self()) return local_drain(context_, {}, args, answered);
    context_.requests.ask(node_, "internal.drain", args, 0, kAskTimeout, answered);
  }

  void on_answer(const Result<json>& answer) {
    const auto now = std::chrono::steady_clock::now();
    if (!answer) {
      if (responder_->cancelled()) return;
      if (now - heard_at_ < kAbsenceMax) return ask_later();
      return responder_->error(
          Error(answer.error().code(), answer.error().message() + "; it stays drained"));
    }
    heard_at_ = now;
    if (!answer->value("drained", false)) {
      return responder_->error(Error("it was opened again meanwhile"));
    }
    cursor_ = answer->value("next", std::uint64_t{0});
    ssid_ = answer->value("ssid", 0);
    const std::size_t to_go = answer->value("to_go", std::size_t{0});
    const json& staying = (*answer)["staying"];
    for (const json& moved : (*answer)["moved"]) moved_.push_back(moved);
    const std::size_t total = moved_.size() + to_go + staying.size();
    const json counts{{"moved", moved_.size()}, {"to_go", to_go}, {"total", total}};
    bool heard = true;
    for (json part : (*answer)["moved"]) {
      part.update({{"progress", counts}});
      heard = responder_->more(part) && heard;
    }
    if (counts != counts_) heard = responder_->more({{"progress", counts}}) && heard;
    counts_ = counts;
    if (!heard || responder_->cancelled()) return;
    if (answer->value("settled", false)) return finish(staying, true);
    ask_later();
  }

  void ask_later() {
    timer_.expires_after(kAskEvery);
    timer_.async_wait([self = shared_from_this()](boost::system::error_code ec) {
      if (!ec) self->ask();
    });
  }

  void finish(const json& staying, bool up) {
    std::size_t guests = 0;
    for (const json& s : staying) guests += s.value("guest", false);
    responder_->reply({{"node", node_.value},
                       {"up", up},
                       {"moved", moved_},
                       {"staying", staying},
                       {"guests_left", guests}});
  }

  OpContext& context_;
  const NodeId node_;
  const std::shared_ptr<Responder> responder_;
  boost::asio::steady_timer timer_;
  std::optional<std::uint64_t> cursor_;
  int ssid_ = 0;  // whose numbers these are: its PID there
  json moved_ = json::array();
  json counts_;
  std::chrono::steady_clock::time_point heard_at_ = std::chrono::steady_clock::now();
};

}  // namespace

void cluster_bring(OpContext& context, const OpCaller&, const json& args, OpDone done) {
  const auto node = wanted_node(context, args);
  if (!node) return done(node.error());
  context.drains.set_drained(*node, false, [node = *node, done](Result<> set) {
    if (!set) return done(set.error());
    done(json{{"node", node.value}, {"drained", false}});
  });
}

void cluster_drain(OpContext& context, const json& args, std::shared_ptr<Responder> responder) {
  const auto node = wanted_node(context, args);
  if (!node) return responder->error(node.error());
  context.drains.set_drained(*node, true, [&context, node = *node, responder](Result<> set) {
    if (!set) return responder->error(set.error());
    (void)responder->more({{"node", node.value}, {"drained", true}});
    std::make_shared<DrainWatch>(context, node, responder)->start();
  });
}

// Of this node: what its planner has come to.
void local_drain(OpContext& context, const OpCaller&, const json& args, OpDone done) {
  const DrainProgress& drain = context.balancer.drain();
  // A restarted ssid begins its count anew.
  const bool ours = args.value("ssid", 0) == ::getpid();
  const std::uint64_t since = ours ? args.value("since", drain.first()) : drain.first();
  json moved = json::array();
  for (const DrainedProcess& p : drain.left_since(since)) {
    moved.push_back({{"pid", p.pid.to_string()},
                     {"from", p.from.value},
                     {"to", p.to.value},
                     {"frozen_ms", static_cast<double>(p.frozen_us) / 1000},
                     {"memory_bytes", p.memory_bytes}});
  }
  json staying = json::array();
  for (const StayingProcess& p : drain.staying()) {
    staying.push_back({{"pid", p.pid.to_string()},
                       {"guest", p.pid.home != context.group.self()},
                       {"reason", p.reason}});
  }
  const std::size_t unseen = context.balancer.guests_unseen();
  // After a boot it is not known before the table is.
  const bool known = context.group.table_valid();
  done(json{{"drained", !known || context.group.drained(context.group.self())},
            {"next", drain.next()},
            {"ssid", ::getpid()},
            {"moved", moved},
            {"staying", staying},
            {"to_go", drain.to_go() + unseen},
            {"settled", known && drain.settled() && unseen == 0}});
}

}  // namespace ssi::ops
