#include "ssid/daemon/daemon_cluster_source.h"

#include <algorithm>
#include <atomic>
#include <boost/asio/post.hpp>
#include <nlohmann/json.hpp>

#include "ssid/api/op_call.h"
#include "ssid/base/log.h"

namespace ssi {
namespace {

using nlohmann::json;

// Gives the one answer to a function.
class AnswerTo final : public Responder {
 public:
  explicit AnswerTo(std::function<void(Result<json>)> done) : done_(std::move(done)) {}
  ~AnswerTo() override {
    if (!answered_) done_(Error("there was no answer"));
  }
  void reply(const json& answer) override { finish(answer); }
  void error(const Error& error) override { finish(error); }
  void error(const Error& error, const json&) override { finish(error); }
  bool more(const json&) override { return !answered_; }
  bool cancelled() const override { return false; }
  void on_cancel(std::function<void()>) override {}

 private:
  void finish(Result<json> result) {
    if (!answered_.exchange(true)) done_(std::move(result));
  }
  std::function<void(Result<json>)> done_;
  std::atomic<bool> answered_{false};
};

int errno_of(const Error& error) {
  switch (error.code()) {
    case ErrorCode::kGone:
      return ESRCH;
    case ErrorCode::kRefused:
      return EOPNOTSUPP;
    case ErrorCode::kDenied:
      return EPERM;
    case ErrorCode::kNoQuorum:
      return EROFS;
    case ErrorCode::kUsage:
      return EINVAL;
    case ErrorCode::kTimeout:
      return ETIMEDOUT;
    case ErrorCode::kBusy:
      return EAGAIN;
    case ErrorCode::kFailed:
      break;
  }
  return EIO;
}

int errno_of(EtcOutcome outcome) {
  switch (outcome) {
    case EtcOutcome::kDone:
      return 0;
    case EtcOutcome::kChanged:
      return EAGAIN;
    case EtcOutcome::kNoFile:
      return ENOENT;
    case EtcOutcome::kTooLarge:
      return EFBIG;
    case EtcOutcome::kTooMany:
      return ENOSPC;
    case EtcOutcome::kNoQuorum:
      return EROFS;
    case EtcOutcome::kUnsure:
      break;
  }
  return EIO;
}

}  // namespace

void DaemonClusterSource::ask(const std::string& op, json args, uid_t uid, Answered done) {
  auto kept = std::make_shared<json>(std::move(args));
  boost::asio::post(io_, [this, op, kept, uid, done = std::move(done)]() mutable {
    const auto found = std::find_if(ops_.begin(), ops_.end(),
                                    [&](const Op& candidate) { return candidate.name == op; });
    SSI_CHECK(found != ops_.end());
    auto caller = std::make_shared<Caller>();
    caller->uid = uid;
    call_op(io_, gate_, *found, std::move(caller), std::move(*kept),
            std::make_shared<AnswerTo>(std::move(done)));
  });
}

void DaemonClusterSource::change_etc(etc::Change change, std::function<void(int)> done) {
  boost::asio::post(io_, [this, change = std::move(change), done = std::move(done)]() mutable {
    const std::string name = change.name;
    etc_.change(std::move(change), [name, done = std::move(done)](EtcOutcome outcome) {
      if (outcome == EtcOutcome::kNoQuorum || outcome == EtcOutcome::kUnsure) {
        log_warning("{}", etc_error(outcome, name).message());
      }
      done(errno_of(outcome));
    });
  });
}

void DaemonClusterSource::owner_of(SsiPid pid, std::function<void(int, uid_t)> done) {
  boost::asio::post(io_, [this, pid, done = std::move(done)] {
    const auto& nodes = cluster_.nodes();
    if (std::none_of(nodes.begin(), nodes.end(),
                     [pid](const Node& node) { return node.id == pid.home; })) {
      return done(ENOENT, 0);
    }
    gate_.owner_of(pid.to_string(), [done](Result<ProcessOwner> owner) {
      if (owner) return done(0, owner->real_uid);
      const bool gone = owner.error().code() == ErrorCode::kGone;
      done(gone ? ENOENT : errno_of(owner.error()), 0);
    });
  });
}

void DaemonClusterSource::list_processes(std::function<void(int, std::vector<SsiPid>)> done) {
  ask("ssips", json::object(), 0, [self = self_, done = std::move(done)](Result<json> answer) {
    if (!answer) return done(errno_of(answer.error()), {});
    std::vector<SsiPid> pids;
    for (const json& row : answer->value("rows", json::array())) {
      if (const auto pid = SsiPid::parse(row.value("pid", ""), self)) pids.push_back(*pid);
    }
    if (pids.empty()) return done(ETIMEDOUT, {});  // not even this node's: the group stands still
    std::sort(pids.begin(), pids.end());
    done(0, std::move(pids));
  });
}

void DaemonClusterSource::read_process(SsiPid pid, fs::ProcFile file, fs::ClusterCaller caller,
                                       std::function<void(int, std::string)> done) {
  const json args{{"pid", pid.to_string()}};
  const char* op = file == fs::ProcFile::kCantmove ? "loadlevel.why" : "loadlevel.status";
  ask(op, args, caller.uid, [this, pid, file, done = std::move(done)](Result<json> answer) {
    if (!answer) return done(errno_of(answer.error()), "");
    switch (file) {
      case fs::ProcFile::kLoadlevel:
        return done(0, answer->value("enabled", false) ? "1\n" : "0\n");
      case fs::ProcFile::kWhere:
        return done(0, std::to_string(answer->value("node", 0u)) + "\n");
      case fs::ProcFile::kCantmove: {
        const std::string why = answer->value("cantmove", "");
        return done(0, why.empty() ? "" : why + "\n");
      }
      case fs::ProcFile::kNmigs: {
        const auto entry = group_.find(pid);
        return done(0, std::to_string(entry ? entry->nmigs : 0) + "\n");
      }
      case fs::ProcFile::kGoto:
        return done(0, "");
    }
  });
}

void DaemonClusterSource::write_process(SsiPid pid, fs::ProcFile file, std::string text,
                                        fs::ClusterCaller caller, std::function<void(int)> done) {
  json args{{"pid", pid.to_string()}};
  std::string op;
  if (file == fs::ProcFile::kGoto) {
    op = "migrate";
    args["node"] = text;
    args["waited"] = true;  // it is no error if the process is there
  } else if (file == fs::ProcFile::kLoadlevel && (text == "0" || text == "1")) {
    op = text == "1" ? "loadlevel.enable" : "loadlevel.disable";
  } else {
    return done(EINVAL);
  }
  ask(op, std::move(args), caller.uid,
      [op, pid, text = std::move(text), done = std::move(done)](Result<json> answer) {
        if (answer) return done(0);
        log_info("/cluster/proc/{}: {} {}: {}", pid.to_string(), op, text,
                 answer.error().message());
        done(errno_of(answer.error()));
      });
}

}  // namespace ssi
