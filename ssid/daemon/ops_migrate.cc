#include <boost/asio/steady_timer.hpp>

#include "ssid/daemon/ops.h"

namespace ssi::ops {
namespace {

constexpr auto kMoveTimeout = std::chrono::minutes(10);
constexpr auto kPause = std::chrono::milliseconds(100);  // between two tries of `migrate --wait`

double ms(std::uint64_t us) { return static_cast<double>(us) / 1000; }

json report_json(SsiPid pid, NodeId from, NodeId to, const migrate::MoveReport& r) {
  return {{"pid", pid.to_string()},
          {"from", from.value},
          {"to", to.value},
          {"frozen_ms", ms(r.frozen_us)},
          {"check_ms", ms(r.check_us)},
          {"copy_ms", ms(r.copy_us)},
          {"freeze_ms", ms(r.freeze_us)},
          {"dump_ms", ms(r.dump_us)},
          {"send_ms", ms(r.send_us)},
          {"restore_ms", ms(r.restore_us)},
          {"commit_ms", ms(r.commit_us)},
          {"memory_bytes", r.memory_bytes},
          {"copied_bytes", r.copied_bytes},
          {"frozen_bytes", r.frozen_bytes},
          {"file_bytes", r.file_bytes},
          {"why_not_copied", r.why_not_copied}};
}

Result<NodeId> target_of(OpContext& context, const json& args, SsiPid pid, NodeId from) {
  const std::string text = node_argument(args).value_or("");
  if (text != "best") return node_of(context, text, pid);
  const NodeId best = context.balancer.best_node_for(from, pid.home, 1, 0);
  if (!best) return Error("no other node would do");
  return best;
}

// A user's wish: tried once, or with `wait` again and again while something is busy, until the
// asker goes away. Keeps itself.
class Wish : public std::enable_shared_from_this<Wish> {
 public:
  Wish(OpContext& context, OpCaller caller, json args, std::shared_ptr<Responder> responder)
      : context_(context),
        caller_(caller),
        args_(std::move(args)),
        responder_(std::move(responder)),
        pause_(context.io) {}

  void try_once() {
    migrate(context_, caller_, args_,
            [self = shared_from_this()](Result<json> result) { self->tried(std::move(result)); });
  }

 private:
  void tried(Result<json> result) {
    if (result) return responder_->reply(*result);
    const Error& why = result.error();
    // A unit that changed while it was looked at is looked at once more, while it stands still.
    const bool once_more = !args_.value("again", false);
    if (why.code() != ErrorCode::kBusy || (!once_more && !args_.value("wait", false))) {
      return responder_->error(why);
    }
    if (responder_->cancelled()) return;
    args_["again"] = true;
    if (once_more) return try_once();
    if (why.message() != told_) {
      told_ = why.message();
      (void)responder_->more({{"pid", args_["pid"]}, {"waiting", told_}});
    }
    args_["waited"] = true;
    pause_.expires_after(kPause);
    pause_.async_wait([self = shared_from_this()](boost::system::error_code ec) {
      if (!ec && !self->responder_->cancelled()) self->try_once();
    });
  }

  OpContext& context_;
  OpCaller caller_;
  json args_;
  std::shared_ptr<Responder> responder_;
  boost::asio::steady_timer pause_;
  std::string told_;
};

}  // namespace

void migrate(OpContext& context, const OpCaller& caller, const json& args, OpDone done) {
  const auto pid = pid_of(context, args);
  if (!pid) return done(pid.error());
  const NodeId from = context.control.where(*pid);
  if (from != context.group.self()) {
    json passed = args;
    passed["pid"] = pid->to_string();
    return context.requests.ask(from, "internal.migrate", passed, caller.uid, kMoveTimeout,
                                std::move(done));
  }
  if (const auto here = process_here(context, *pid); !here) return done(here.error());
  const auto to = target_of(context, args, *pid, from);
  if (!to) return done(to.error());
  if (*to == from) {
    // Whoever made it busy has brought it here.
    if (args.value("waited", false)) {
      return done(json{
          {"pid", pid->to_string()}, {"from", from.value}, {"to", to->value}, {"already", true}});
    }
    return done(Error("it runs on node " + std::to_string(to->value) + " already"));
  }
  const ProcessControl::Wish wish{.tree = args.value("tree", false),
                                  .again = args.value("again", false),
                                  .of_root = caller.uid == 0};
  if (args.value("dry_run", false)) {
    if (auto checked = context.control.check_from_here(*pid, wish); !checked) {
      return done(std::move(checked).error());
    }
    return done(json{
        {"pid", pid->to_string()}, {"from", from.value}, {"to", to->value}, {"dry_run", true}});
  }
  context.control.migrate_from_here(*pid, *to, wish, [=](Result<migrate::MoveReport> report) {
    if (!report) return done(report.error());
    done(report_json(*pid, from, *to, *report));
  });
}

}  // namespace ssi::ops

namespace ssi {

void add_migrate_op(OpContext& context, OpTable& table) {
  table.push_back({"migrate", Privilege::kOwnerOfPid, true,
                   [&context](std::shared_ptr<const Caller> caller, nlohmann::json args,
                              std::shared_ptr<Responder> responder) {
                     std::make_shared<ops::Wish>(context, OpCaller{caller->uid}, std::move(args),
                                                 std::move(responder))
                         ->try_once();
                   }});
}

}  // namespace ssi
