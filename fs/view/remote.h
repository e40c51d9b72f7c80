// A view's connection to home's store: a pool of lanes, each a connection with one request at a
// time. A lost connection is made again, with the same session, and the request under way is asked
// again under the same number; so nothing is done twice. If home's store itself was restarted (it
// has another serial), files are looked up again by where they were found, open files are opened
// and locks taken again.
//
// A view of guests waits for its home as long as it takes: they can't do without it. One with
// `patience` (/cluster/node) does not: its users are told EHOSTDOWN, and that at once while home is
// known to be down.
//
// Owned by a view; called by any of its threads; a call blocks until home answers, the view gives
// up, or the guest that waits for it is being killed.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <initializer_list>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "fs/rpc/rpc.h"
#include "fs/view/view_node.h"
#include "ssid/wire/carrier/channel.h"
#include "ssid/wire/carrier/hello.h"

namespace ssi::fs {

// For whom a call is made: who owns what it creates, and whose death ends its waiting.
struct Caller {
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::uint32_t umask = 0;
  pid_t thread = 0;  // of the guest, in our PID namespace; 0: nobody
};

class Remote {
  struct Lane;

 public:
  using Dial = std::function<Result<std::unique_ptr<Channel>>()>;
  struct Options {
    Dial dial;
    LinkHello hello;  // token, node, realm
    std::uint32_t lanes_max = 16;
    std::chrono::milliseconds retry_min{50};
    std::chrono::milliseconds retry_max{1000};
    // How long calls wait for a home that can't be reached; not set: as long as it takes.
    std::optional<std::chrono::milliseconds> patience;
  };
  Remote(Options options, NodeIndex& nodes);
  ~Remote();

  // The reply to a call. Holds the lane, and with it the bytes, until it is destroyed.
  class Reply {
   public:
    Reply() = default;
    Reply(Reply&& other) noexcept;
    Reply& operator=(Reply&&) = delete;
    ~Reply();
    ByteSpan body() const;
    ByteReader reader() const { return ByteReader(body()); }
    std::uint64_t serial() const;  // of the session that ids in the reply belong to
    std::uint64_t changes() const { return changes_; }  // when it was asked, see Remote::changes()

   private:
    friend class Remote;
    std::uint64_t changes_ = 0;
    Remote* remote_ = nullptr;
    Lane* lane_ = nullptr;
  };

  struct Request {
    Op op{};
    ViewNode* node = nullptr;
    ViewNode* node2 = nullptr;
    ViewHandle* handle = nullptr;
    ViewHandle* handle2 = nullptr;
    Caller caller;
    // Instead of `node` and `handle`: ids of that session; ESTALE in another one.
    std::uint64_t session = 0;
    std::uint64_t node_id = 0;
    std::uint64_t handle_id = 0;
  };
  // Asks home; 0 or an errno (EIO after give_up(), EINTR if the caller is being killed, EHOSTDOWN
  // if home is down and there is no patience). `parts` are the body of the op, names and data.
  int call(const Request& request, std::initializer_list<ByteSpan> parts, Reply& reply);

  // Grows with everything that this view changes at home, before and after: what home has told is
  // as it was if it has not grown since it was asked (but for what others have done).
  std::uint64_t changes() const { return changes_; }
  void note_change() { ++changes_; }

  // Remembers that ids of this session came with a reply: `lookups` more of them for the node.
  static void bind(ViewNode& node, std::uint64_t serial, std::uint64_t id, std::uint64_t lookups);
  // A handle that came with a reply.
  static void bind(ViewHandle& handle, std::uint64_t serial, std::uint64_t id);

  // To be forgotten at home; sent in bunches.
  void forget(std::uint64_t serial, std::uint64_t id, std::uint64_t lookups);
  void send_forgets();
  bool has_forgets() const;
  // The end of an open file (kRelease) or of an owner's locks (kUnlockOwner) of which home could
  // not be told: said when it is back, if it is in the same session still.
  void tell_later(const Request& request, const LockBody& body);

  // What the cluster says of home. Down: whoever waits, waits no more.
  void set_home_up(bool up);

  // All calls, waiting and future ones, fail with EIO.
  void give_up();
  // Ends the session at home, if it can be reached at once.
  void goodbye();

  struct Stats {
    std::uint64_t calls = 0;
    std::uint64_t reconnects = 0;    // connections made after the first of each lane
    std::uint64_t new_sessions = 0;  // stores that did not know us (any more)
    bool connected = false;
  };
  Stats stats() const;

 private:
  Lane* acquire(const Caller& caller, int& error);
  void release(Lane* lane);
  bool connect(Lane& lane, const Caller& caller);
  void watch();
  int call_once(const Request& request, std::initializer_list<ByteSpan> parts, Reply& reply);
  int wait_turn(std::chrono::milliseconds time, const Caller& caller);
  bool out_of_reach() const;
  void note_dial(bool reached);
  void tell_ends();
  int exchange(Lane& lane, RequestHead head, std::initializer_list<ByteSpan> parts,
               const Caller& caller, bool& broken);
  int bind_node(Lane& lane, ViewNode& node, const Caller& caller, std::uint64_t& id, bool& broken);
  int bind_handle(Lane& lane, ViewHandle& handle, const Caller& caller, std::uint64_t& id,
                  bool& broken);
  int restore_locks(Lane& lane, ViewNode& node, std::uint64_t id, const Caller& caller,
                    bool& broken);
  bool given_up() const { return given_up_.load(std::memory_order_relaxed); }

  const Options options_;
  NodeIndex& nodes_;
  mutable std::mutex mutex_;
  std::condition_variable lane_free_;
  std::condition_variable gave_up_;
  std::vector<std::unique_ptr<Lane>> lanes_;
  std::vector<Lane*> idle_;
  struct Forgotten {
    std::uint64_t serial;
    ForgetBody body;
  };
  std::vector<Forgotten> forgotten_;
  std::vector<std::pair<Request, LockBody>> ends_;
  std::atomic<bool> given_up_{false};
  std::atomic<bool> home_down_{false};
  std::atomic<std::int64_t> unreached_since_ms_{0};  // 0: it was reached last time
  std::atomic<std::int64_t> dialled_ms_{0};          // last, in vain
  std::atomic<bool> watcher_rests_{false};
  std::uint64_t serial_ = 0;  // of the newest session seen
  std::atomic<std::uint64_t> changes_{0};
  std::atomic<std::uint64_t> calls_{0};
  std::atomic<std::uint64_t> reconnects_{0};
  std::atomic<std::uint64_t> new_sessions_{0};
  // Breaks the wait of callers that are being killed. Last, because it uses all of the above.
  std::thread watcher_;
};

}  // namespace ssi::fs
