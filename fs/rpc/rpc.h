// What a view asks a store: fixed little-endian structures, names and data behind them. A frame is
//
//     request: RequestHead, the body of its op, names, data          reply: ReplyHead, body, data
//
// One request is under way on a connection (a *lane*). `seq` grows by one with every new request of
// a lane; the same number again means "I lost your reply", and the store answers from memory.
// Rejected: FlatBuffers here, because the tables cost more than the work behind most of these ops.
#pragma once

#include <sys/types.h>

#include <bit>
#include <compare>
#include <cstdint>
#include <type_traits>

namespace ssi::fs {

inline constexpr std::uint32_t kDataBytesMax = 1u << 20;  // of one read or write
inline constexpr std::uint32_t kNameBytesMax = 255;
inline constexpr std::uint64_t kRootNode = 1;  // id of the exported root, in every session

enum class Op : std::uint16_t {
  kLookup = 1,
  kForget = 2,
  kGetattr = 3,
  kSetattr = 4,
  kReadlink = 5,
  kMknod = 6,
  kMkdir = 7,
  kUnlink = 8,
  kRmdir = 9,
  kSymlink = 10,
  kRename = 11,
  kLink = 12,
  kOpen = 13,
  kCreate = 14,
  kRead = 15,
  kWrite = 16,
  kOpendir = 17,
  kReaddir = 18,  // of a handle, or from the beginning of a node
  kRelease = 19,
  kStatfs = 20,
  kFsync = 21,
  kGetxattr = 23,
  kListxattr = 24,
  kSetxattr = 25,
  kRemovexattr = 26,
  kFallocate = 27,
  kLseek = 28,
  kCopyRange = 29,
  // Never blocks: EAGAIN while somebody else holds it. By a handle: that open file is the owner.
  kSetlk = 30,
  kGetlk = 31,
  kFlock = 32,        // never blocks
  kUnlockOwner = 33,  // an owner closed the file: its record locks go
  kDigest = 34,
  kGoodbye = 35,  // ends the session
  kHold = 36,     // an open file, or a node, from now on also known by a number
  kHeld = 37,     // the file of such a number
  kUnhold = 38,
  kAdopt = 39,       // an open file becomes the held one
  kHoldLocks = 40,   // an owner's record locks, from now on also known by a number
  kAdoptLocks = 41,  // an owner's record locks of a node are the held ones
  kOpenHeld = 42,    // a node: not by another opening, but as the held open file
  kLease = 43,       // of an open file: how it stands, or what it is to be
  kWatch = 44,       // what others do to a node is news from now on, or no more
  kNews = 45,        // waits for news
};

struct RequestHead {
  std::uint64_t seq = 0;
  Op op{};
  std::uint16_t flags = 0;  // kAgain
  std::uint32_t umask = 0;
  std::uint64_t node = 0;
  std::uint64_t node2 = 0;
  std::uint64_t handle = 0;
  std::uint64_t handle2 = 0;
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;

  // The store that was asked first is gone, and nobody knows whether it did it: what is already as
  // the request wants it counts as done.
  static constexpr std::uint16_t kAgain = 1;
};
static_assert(sizeof(RequestHead) == 56);

struct ReplyHead {
  std::uint64_t seq = 0;
  std::int32_t error = 0;  // errno
  std::uint32_t reserved = 0;
};
static_assert(sizeof(ReplyHead) == 16);

// What makes a file the same file as before. `birth_ns` keeps a reused inode number apart.
struct FileKey {
  std::uint64_t dev = 0;
  std::uint64_t ino = 0;
  std::uint64_t birth_ns = 0;  // 0 where the file system does not tell
  auto operator<=>(const FileKey&) const = default;
};

struct Time {
  std::int64_t s = 0;
  std::int64_t ns = 0;
  auto operator<=>(const Time&) const = default;
};

struct Attr {
  FileKey key;
  std::uint64_t size = 0;
  std::uint64_t blocks = 0;  // of 512 bytes
  Time atime, mtime, ctime;
  std::uint64_t rdev = 0;
  std::uint32_t mode = 0;
  std::uint32_t nlink = 0;
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::uint32_t block_bytes = 0;
  std::uint32_t flags = 0;

  // It has no extended attributes: spares the kernel's questions after ACLs and capabilities.
  static constexpr std::uint32_t kNoXattrs = 1;
  // Of an opened file: it says that it is empty, and only reading it tells whether it is
  // (/cluster/proc at home).
  static constexpr std::uint32_t kUnsized = 2;
};
static_assert(sizeof(Attr) == 120);

struct EntryReply {
  std::uint64_t node = 0;
  Attr attr;
};
struct OpenReply {
  std::uint64_t handle = 0;
  Attr attr;
};
struct CreateReply {
  std::uint64_t node = 0;
  std::uint64_t handle = 0;
  Attr attr;
};

struct NameBody {  // kLookup, kUnlink, kRmdir, kGetxattr, kRemovexattr; then the name
  std::uint32_t name_bytes = 0;
  std::uint32_t size = 0;  // kGetxattr: room for the value, 0 asks for its size
};
struct ForgetBody {  // kForget: any number of them
  std::uint64_t node = 0;
  std::uint64_t lookups = 0;
};
struct SetattrBody {
  std::uint32_t valid = 0;  // bits below
  std::uint32_t mode = 0;
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::uint64_t size = 0;
  Time atime, mtime;

  static constexpr std::uint32_t kMode = 1, kUid = 2, kGid = 4, kSize = 8, kAtime = 16, kMtime = 32,
                                 kAtimeNow = 64, kMtimeNow = 128, kAll = 255;
};
struct MakeBody {  // kMknod, kMkdir, kCreate; then the name
  std::uint32_t name_bytes = 0;
  std::uint32_t mode = 0;
  std::uint64_t rdev = 0;
  std::uint32_t flags = 0;  // kCreate: open flags
  std::uint32_t reserved = 0;
};
struct TwoNamesBody {  // kRename, kLink (name2 only), kSymlink (name, target); then both
  std::uint32_t name_bytes = 0;
  std::uint32_t name2_bytes = 0;
  std::uint32_t flags = 0;
  std::uint32_t reserved = 0;
};
struct OpenBody {
  std::uint32_t flags = 0;
  std::uint32_t reserved = 0;
};
struct RangeBody {  // kRead, kWrite (data follows), kReaddir, kFallocate, kLseek, kFsync
  std::uint64_t offset = 0;
  std::uint64_t size = 0;
  std::uint32_t mode =
      0;  // kFallocate: mode; kLseek: whence; kFsync: 1 data only; kReaddir: 1 with attributes
  std::uint32_t reserved = 0;
};
struct CopyBody {
  std::uint64_t offset_in = 0;
  std::uint64_t offset_out = 0;
  std::uint64_t size = 0;
  std::uint32_t flags = 0;
  std::uint32_t reserved = 0;
};
struct SetxattrBody {  // then name and value
  std::uint32_t name_bytes = 0;
  std::uint32_t value_bytes = 0;
  std::uint32_t flags = 0;
  std::uint32_t reserved = 0;
};
struct LockBody {  // kSetlk, kGetlk (also its reply), kUnlockOwner (owner only)
  std::uint64_t owner = 0;
  std::uint64_t start = 0;
  std::uint64_t length = 0;  // 0: to the end
  std::uint32_t type = 0;    // F_RDLCK, F_WRLCK, F_UNLCK; kFlock: LOCK_SH, LOCK_EX, LOCK_UN
  std::int32_t pid = 0;
};
struct HeldBody {  // kHeld, kUnhold, kAdopt; the reply to kHold
  std::uint64_t id = 0;
};
struct AdoptLocksBody {  // kAdoptLocks
  std::uint64_t id = 0;
  std::uint64_t owner = 0;
};
struct OpenHeldBody {  // kOpenHeld; its reply is that of kOpen
  std::uint64_t id = 0;
  std::uint32_t flags = 0;
  std::uint32_t reserved = 0;
};
struct LeaseBody {             // kLease, also its reply
  std::uint32_t type = 0;      // F_RDLCK, F_WRLCK, F_UNLCK; one that is being broken: will be
  std::uint32_t breaking = 0;  // reply
  std::uint32_t set = 0;       // request: 1: to be of that type, 0: only asked for
  std::uint32_t reserved = 0;
};
struct WatchBody {         // kWatch
  std::uint64_t tag = 0;   // what news about the node are to be called
  std::uint32_t mask = 0;  // of inotify(7); 0: it is not watched any more
  std::uint32_t reserved = 0;
};
struct NewsBody {  // kNews
  std::uint32_t wait_ms = 0;
  std::uint32_t count_max = 0;  // 0: gets none; another that waits for them, or is to, does not
};
struct NewsReply {  // then the news, in the order in which they happened
  std::uint32_t count = 0;
  std::uint32_t lost = 0;     // 1: there was more before these than could be kept
  std::uint64_t watches = 0;  // how many nodes are watched; another store knows of none
};
struct NewsHead {  // the name that was concerned is behind it
  std::uint64_t tag = 0;
  std::uint32_t mask = 0;    // one event of inotify(7), and IN_ISDIR
  std::uint32_t cookie = 0;  // as inotify(7)
  std::uint32_t name_bytes = 0;
  std::uint32_t reserved = 0;
};
struct CountReply {
  std::uint64_t count = 0;  // bytes written or copied, offset found, size of an attribute
};
struct StatfsReply {
  std::uint64_t blocks = 0, blocks_free = 0, blocks_available = 0, files = 0, files_free = 0;
  std::uint32_t block_bytes = 0, fragment_bytes = 0, name_bytes_max = 0, reserved = 0;
};
struct ReaddirReply {        // kReaddir; then entries
  std::uint64_t handle = 0;  // to go on with, if the directory was named by its node and has more
  std::uint64_t at_end = 0;  // 1: there is nothing behind these entries
};
struct DirEntryHead {        // any number of them, each with its name behind it
  std::uint64_t node = 0;    // 0: no attributes, only inode number and type
  std::uint64_t offset = 0;  // where the next one is
  Attr attr;
  std::uint32_t name_bytes = 0;
  std::uint32_t reserved = 0;
};
struct DigestReply {
  std::uint8_t sha256[32] = {};
  Attr attr;  // as it was before and after the bytes were read
};

// Bytes that one directory entry takes in a reply to the kernel (struct fuse_direntplus /
// fuse_dirent).
inline constexpr std::uint64_t kernel_entry_bytes(std::uint64_t name_bytes, bool with_attributes) {
  return ((24 + name_bytes + 7) & ~std::uint64_t{7}) + (with_attributes ? 128 : 0);
}

template <typename T>
inline constexpr bool kIsWire =
    std::is_trivially_copyable_v<T>&& std::has_unique_object_representations_v<T>;
static_assert(kIsWire<RequestHead> && kIsWire<ReplyHead> && kIsWire<Attr> && kIsWire<EntryReply> &&
              kIsWire<SetattrBody> && kIsWire<DirEntryHead> && kIsWire<LockBody> &&
              kIsWire<StatfsReply> && kIsWire<DigestReply> && kIsWire<WatchBody> &&
              kIsWire<NewsBody> && kIsWire<NewsReply> && kIsWire<NewsHead>);

}  // namespace ssi::fs
