#include "ssid/daemon/etc_control.h"

#include <sys/random.h>

#include <boost/asio/post.hpp>
#include <filesystem>

#include "ssid/base/log.h"

namespace ssi {
namespace {

constexpr const char* kFileName = "/etc.state";

std::uint64_t random_number() {
  std::uint64_t number = 0;
  SSI_CHECK(::getrandom(&number, sizeof number, 0) == sizeof number);
  return number >> 16;  // room to count on
}

}  // namespace

std::int64_t etc_time_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

Error etc_error(EtcOutcome outcome, const std::string& name) {
  const std::string what = "/cluster/etc/" + name + ": ";
  switch (outcome) {
    case EtcOutcome::kChanged:
      return Error(ErrorCode::kBusy, what + "somebody else has changed it meanwhile");
    case EtcOutcome::kNoFile:
      return Error(what + "no such file");
    case EtcOutcome::kTooLarge:
      return Error(what + "larger than 64 KiB, or all of /cluster/etc than 1 MiB");
    case EtcOutcome::kTooMany:
      return Error(what + "there are too many files in /cluster/etc");
    case EtcOutcome::kNoQuorum:
      return Error(ErrorCode::kNoQuorum, what + "no quorum: nothing may be changed now");
    case EtcOutcome::kUnsure:
      return Error(ErrorCode::kTimeout,
                   what + "the cluster fell apart meanwhile: it may have been written or not");
    case EtcOutcome::kDone:
      break;
  }
  SSI_CHECK(false);
  return Error("");
}

Result<std::unique_ptr<EtcControl>> EtcControl::open(boost::asio::io_context& io,
                                                     const Clock& clock, Cluster& cluster,
                                                     const std::string& directory,
                                                     Handlers handlers) {
  std::error_code ec;
  std::filesystem::create_directories(directory, ec);
  if (ec) return Error("make " + directory + ": " + ec.message());
  const std::string path = directory + kFileName;
  SSI_ASSIGN(const auto bytes, DurableFile::read(path, etc::kFrameBytesMax));
  std::unique_ptr<EtcControl> control(
      new EtcControl(io, clock, cluster, directory, std::move(handlers)));
  if (!bytes.empty()) SSI_TRY(control->replica_.restore(bytes).context(path));
  control->publish();
  return control;
}

EtcControl::EtcControl(boost::asio::io_context& io, const Clock& clock, Cluster& cluster,
                       const std::string& directory, Handlers handlers)
    : io_(io),
      clock_(clock),
      cluster_(cluster),
      handlers_(std::move(handlers)),
      replica_({.self = cluster.self(),
                .nodes = static_cast<std::uint32_t>(cluster.nodes().size()),
                .first_proposal = random_number()}),
      files_(std::make_shared<const SharedFiles>()),
      disk_(io, directory + kFileName,
            [this](std::uint64_t number, Result<> result) { saved(number, result); }) {}

void EtcControl::on_view() {
  replica_.set_nodes(static_cast<std::uint32_t>(cluster_.nodes().size()));
  carry_out(replica_.on_view(cluster_.view(), static_cast<std::uint64_t>(clock_.now_ms())));
}

void EtcControl::on_frame(NodeId from, const group::EtcFrame& message) {
  const auto read = etc::decode(message.frame);
  if (!read) return log_warning("message of node {}: {}", from.value, read.error().message());
  carry_out(replica_.on_message(from, *read, static_cast<std::uint64_t>(clock_.now_ms())));
}

void EtcControl::on_tick() {
  if (save_failed_) {
    save_failed_ = false;
    disk_.write(saves_, replica_.save());
  }
  if (replica_.under_way() && clock_.now_ms() >= wanted_.front().until_ms) {
    replica_.give_up();
    decided(EtcOutcome::kUnsure);
  }
  replica_.set_nodes(static_cast<std::uint32_t>(cluster_.nodes().size()));
  carry_out(replica_.tick(static_cast<std::uint64_t>(clock_.now_ms())));
}

std::shared_ptr<const SharedFiles> EtcControl::files() const {
  const std::lock_guard lock(files_mutex_);
  return files_;
}

void EtcControl::change(etc::Change change, Done done) {
  wanted_.push_back({std::move(change), std::move(done), clock_.now_ms() + kWait_ms});
  boost::asio::post(io_, [this] { next(); });
}

void EtcControl::next() {
  if (wanted_.empty() || replica_.under_way()) return;
  const bool may_come = cluster_.view().quorate && clock_.now_ms() < wanted_.front().until_ms;
  if (!replica_.established() && may_come) return;  // a view or a tick will look again
  carry_out(replica_.propose(wanted_.front().change));
}

void EtcControl::decided(EtcOutcome outcome) {
  if (wanted_.empty()) return;
  // Refused for a change of the members alone: once more.
  const bool may_come = cluster_.view().quorate && clock_.now_ms() < wanted_.front().until_ms;
  if (outcome == EtcOutcome::kNoQuorum && may_come) return;
  Done done = std::move(wanted_.front().done);
  wanted_.pop_front();
  if (outcome != EtcOutcome::kDone) return done(outcome);
  handlers_.wait_for_all([done = std::move(done)] { done(EtcOutcome::kDone); });
}

void EtcControl::carry_out(EtcReplica::Effects effects) {
  if (effects.save) disk_.write(++saves_, replica_.save());
  for (const etc::Message& message : effects.send) {
    outbox_.push_back({saves_, group::encode(group::EtcFrame{etc::encode(message)})});
  }
  send_ready();
  writable_ = cluster_.view().quorate;
  if (effects.changed) publish();
  if (effects.decided) decided(*effects.decided);
  if (!wanted_.empty() && !replica_.under_way()) boost::asio::post(io_, [this] { next(); });
}

void EtcControl::send_ready() {
  while (!outbox_.empty() && outbox_.front().after_save <= saved_) {
    // Out of the group there is nobody to hear it; the next view brings everything up to date.
    if (auto sent = cluster_.send(outbox_.front().frame);
        !sent && !cluster_.view().members.empty()) {
      log_error("a message about /cluster/etc was not sent: {}", sent.error().message());
    }
    outbox_.pop_front();
  }
}

void EtcControl::saved(std::uint64_t number, const Result<>& result) {
  if (!result) {
    log_error("/cluster/etc can't be kept: {}", result.error().message());
    save_failed_ = true;  // tried again each second; until then this node acknowledges nothing
    return;
  }
  saved_ = number;
  send_ready();
}

void EtcControl::publish() {
  auto files = std::make_shared<const SharedFiles>(replica_.files());
  {
    const std::lock_guard lock(files_mutex_);
    files_ = files;
  }
  handlers_.on_changed(*files);
}

}  // namespace ssi
