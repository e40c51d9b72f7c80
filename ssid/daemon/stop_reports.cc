#include "ssid/daemon/stop_reports.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <thread>

namespace ssi {

void StopReports::stopped(const GuestRecord& record, int signo) {
  const SsiPid pid = record.ticket.pid;
  std::vector<migrate::StreamRef> terminals;
  std::ranges::copy_if(record.streams, std::back_inserter(terminals),
                       [](const auto& s) { return s.terminal != 0 && s.write_end; });
  if (terminals.empty()) return handlers_.tell_stopped(record, signo);
  const auto [wait, first] = waiting_.try_emplace(pid, false);
  wait->second = false;
  if (!first) return;  // stopped, continued, and stopped again: one report is enough
  std::thread([this, record, signo, terminals = std::move(terminals)] {
    for (const auto& s : terminals) handlers_.flush(s);
    boost::asio::post(io_, [this, record, signo] { flushed(record, signo); });
  }).detach();
}

void StopReports::continued(const GuestRecord& record) {
  const auto wait = waiting_.find(record.ticket.pid);
  if (wait == waiting_.end()) return handlers_.tell_continued(record);
  wait->second = true;
}

void StopReports::flushed(const GuestRecord& record, int signo) {
  const auto wait = waiting_.extract(record.ticket.pid);
  if (wait.empty() || wait.mapped()) return;  // it goes on already, and nobody knew that it did not
  handlers_.tell_stopped(record, signo);
}

}  // namespace ssi
