// What others do to files that guests elsewhere watch: the view says which, and asks for the news.
#include <algorithm>
#include <cerrno>

#include "fs/store/call.h"

namespace ssi::fs {
namespace {

// One waits in a connection of its own; not for longer than a store takes to end.
constexpr std::uint32_t kWaitMsMax = 10'000;

}  // namespace

int on_watch(Call& call) {
  const auto body = call.body.get<WatchBody>();
  if (!call.body.done()) return kMalformed;
  if (call.session.client() != FileStat::Client::kGuests) return EPERM;
  Watches& watches = call.session.watches();
  if (body.mask == 0) return watches.watch(-1, body.tag, 0);
  NodeTable::Node node;
  if (const int error = call.session.nodes().get(call.head.node, node); error != 0) return error;
  if (node.hidden) return EACCES;
  return watches.watch(**node.fd, body.tag, body.mask);
}

int on_news(Call& call) {
  const auto body = call.body.get<NewsBody>();
  if (!call.body.done()) return kMalformed;
  if (body.count_max == 0) {
    call.session.watches().answer_at_once();
    call.reply.append(NewsReply{});
    return 0;
  }
  const std::chrono::milliseconds wait(std::min(body.wait_ms, kWaitMsMax));
  const Watches::Taken taken =
      call.session.watches().take(wait, std::min<std::size_t>(body.count_max, 1024));
  NewsReply reply;
  reply.count = static_cast<std::uint32_t>(taken.news.size());
  reply.lost = taken.lost ? 1 : 0;
  reply.watches = taken.watched;
  call.reply.append(reply);
  for (const Watches::News& news : taken.news) {
    NewsHead head;
    head.tag = news.tag;
    head.mask = news.mask;
    head.cookie = news.cookie;
    head.name_bytes = static_cast<std::uint32_t>(news.name.size());
    call.reply.append(head);
    call.reply.append(std::string_view(news.name));
  }
  return 0;
}

}  // namespace ssi::fs
