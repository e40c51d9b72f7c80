#include "fs/view/watch_teller.h"

#include <sys/inotify.h>

#include <cerrno>
#include <fstream>
#include <set>
#include <utility>

namespace ssi::fs {
namespace {

constexpr std::uint32_t kNames = IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO;
constexpr std::uint32_t kClose = IN_CLOSE_WRITE | IN_CLOSE_NOWRITE;
constexpr int kUnaliasTries = 20;  // the kernel gives up if somebody is in its way

using Call = ViewCaller::Call;

ViewCaller::Order order_of(Call call, std::uint32_t mask) {
  ViewCaller::Order order;
  order.call = call;
  order.directory = (mask & IN_ISDIR) != 0 ? 1 : 0;
  return order;
}

}  // namespace

// The calls that are made meanwhile are told.
class WatchTeller::Speaking {
 public:
  explicit Speaking(WatchTeller& teller) : teller_(teller) {
    const Place ghosts{1, std::string(kGhosts)};
    teller_.set_answers({{ghosts, {Kind::kDirectory, {}}}});
    ViewCaller::Order order;
    order.call = Call::kBegin;
    set_name(order.name, ghosts.name);
    can_ = teller_.caller_.call(order) == 0;
    teller_.ghosts_node_ = teller_.told_;
  }
  ~Speaking() {
    ViewCaller::Order order;
    order.call = Call::kEnd;
    (void)teller_.caller_.call(order);
    teller_.set_answers({});
  }
  Speaking(const Speaking&) = delete;
  Speaking& operator=(const Speaking&) = delete;
  bool can() const { return can_; }

 private:
  WatchTeller& teller_;
  bool can_ = false;
};

int WatchTeller::call(ViewCaller::Order order, const Place& at, const Place& to) {
  const auto node_of = [&](const Place& place) {
    return place.parent == ghosts_node_ ? 0 : place.parent;
  };
  order.node = node_of(at);
  order.node2 = node_of(to);
  set_name(order.name, at.name);
  set_name(order.name2, to.name);
  return caller_.call(order);
}

void WatchTeller::set_answers(std::initializer_list<std::pair<Place, Answer>> answers) {
  {
    std::lock_guard lock(mutex_);
    answers_.clear();
    for (const auto& [place, answer] : answers) answers_[{place.parent, place.name}] = answer;
  }
  for (const auto& [place, answer] : answers) options_.expire(place.parent, place.name);
}

WatchTeller::Answer WatchTeller::answer_to_lookup(std::uint64_t parent,
                                                  const std::string& name) const {
  std::lock_guard lock(mutex_);
  const auto found = answers_.find({parent, name});
  return found == answers_.end() ? Answer{} : found->second;
}

void WatchTeller::tell(const std::vector<News>& news,
                       const std::function<bool(std::uint64_t)>& watched) {
  const Speaking speaking(*this);
  if (!speaking.can()) return;
  std::set<std::size_t> told;  // with what stands before them
  for (std::size_t i = 0; i < news.size(); ++i) {
    if (told.contains(i)) continue;
    const News* to = nullptr;
    for (std::size_t j = i + 1; (news[i].mask & IN_MOVED_FROM) != 0 && j < news.size(); ++j) {
      if ((news[j].mask & IN_MOVED_TO) == 0 || news[j].cookie != news[i].cookie) continue;
      to = &news[j];
      told.insert(j);
      break;
    }
    tell_one(news[i], to, watched);
  }
}

void WatchTeller::tell_one(const News& news, const News* to,
                           const std::function<bool(std::uint64_t)>& watched) {
  const std::uint32_t event = news.mask & IN_ALL_EVENTS;
  if ((event & kNames) != 0) {
    tell_name(news, to);
    return;
  }
  // Told when it is closed: only then home knows for what it was.
  if (event == IN_OPEN) return;
  if ((event & (IN_DELETE_SELF | IN_MOVE_SELF)) != 0) {
    tell_self(news);
    return;
  }
  if (news.name.empty()) {
    const auto credit = credits_.find(nodes_.kernel_id(*news.node));
    if (credit != credits_.end() && (credit->second & event) != 0) {
      credit->second &= ~event;
      if (credit->second == 0) credits_.erase(credit);
      return;
    }
  }
  told_ = 0;
  tell_existing(news);
  // Home says it to who watches the file itself, too, and this kernel has done so now.
  const std::uint64_t file = told_;
  if (!news.name.empty() && file != 0 && watched(file)) credits_[file] |= event;
}

void WatchTeller::tell_name(const News& news, const News* to) {
  const Place at{nodes_.kernel_id(*news.node), news.name};
  const Answer ghost{(news.mask & IN_ISDIR) != 0 ? Kind::kDirectory : Kind::kGhost, {}};
  const Answer absent{Kind::kAbsent, {}};
  if ((news.mask & IN_CREATE) != 0) {
    set_answers({{at, absent}});
    (void)call(order_of(Call::kMake, news.mask), at);
  } else if ((news.mask & IN_DELETE) != 0) {
    set_answers({{at, ghost}});
    (void)call(order_of(Call::kRemove, news.mask), at);
  } else if ((news.mask & IN_MOVED_TO) != 0) {
    const Place from = ghost_place("from");
    set_answers({{from, ghost}, {at, absent}});
    (void)call(order_of(Call::kRename, news.mask), from, at);
  } else {
    const Place target =
        to == nullptr ? ghost_place("to") : Place{nodes_.kernel_id(*to->node), to->name};
    set_answers({{at, ghost}, {target, absent}});
    (void)call(order_of(Call::kRename, news.mask), at, target);
  }
}

// Of a file that is there: what is in it, what is known of it, who has it open.
void WatchTeller::tell_existing(const News& news) {
  set_answers({});
  const bool closed = (news.mask & kClose) != 0;
  ViewCaller::Order order = order_of(closed ? Call::kOpen : Call::kTouch, news.mask);
  order.write = (news.mask & IN_CLOSE_WRITE) != 0 ? 1 : 0;
  order.access = (news.mask & IN_MODIFY) != 0 ? 0 : 1;
  order.change = (news.mask & IN_ACCESS) != 0 ? 0 : 1;
  (void)call(order, {nodes_.kernel_id(*news.node), news.name});
}

// By a name that nobody watches. A directory has only one: it leaves the one that is wrong.
void WatchTeller::tell_self(const News& news) {
  const Place at = ghost_place("gone");
  const Place moved = ghost_place("moved");
  const bool deleted = (news.mask & IN_DELETE_SELF) != 0;
  const Answer answer{deleted ? Kind::kDeleted : Kind::kMoved, news.node};
  int error = ESTALE;
  for (int i = 0; error == ESTALE && i < kUnaliasTries; ++i) {
    set_answers({{at, answer}, {moved, {Kind::kAbsent, {}}}});
    error = deleted ? call(order_of(Call::kRemove, news.mask), at)
                    : call(order_of(Call::kRename, news.mask), at, moved);
  }
}

// A queue that is full says so. What is told until it is, are names that come and go again: whoever
// reads them and looks finds nothing.
void WatchTeller::tell_lost(const ViewNodePtr& node, std::uint32_t mask) {
  const Speaking speaking(*this);
  if (!speaking.can()) return;
  credits_.clear();
  if ((mask & kNames) == 0) {
    // All that could have happened to a file: said once, it says everything.
    for (const std::uint32_t event : {IN_ATTRIB, IN_MODIFY, IN_ACCESS}) {
      if ((mask & event) != 0) tell_existing({node, event, 0, {}});
    }
    return;
  }
  long queue_max = 16384;
  std::ifstream("/proc/sys/fs/inotify/max_queued_events") >> queue_max;
  for (long i = 0; i <= queue_max; ++i) {
    for (const std::uint32_t event : {IN_CREATE, IN_DELETE, IN_MOVED_FROM, IN_MOVED_TO}) {
      if ((mask & event) == 0) continue;
      tell_name({node, event, 0, ".ssid-lost-" + std::to_string(i % 2)}, nullptr);
      break;
    }
  }
}

}  // namespace ssi::fs
