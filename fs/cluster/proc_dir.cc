#include "fs/cluster/proc_dir.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <array>
#include <cstring>

#include "fs/cluster/cluster_ino.h"

namespace ssi::fs {
namespace {

constexpr double kTimeout_s = 1;  // whose process it is, the kernel may remember so long
constexpr std::size_t kTextBytesMax = 256;

struct FileRow {
  const char* name;
  ProcFile file;
  mode_t mode;
};
constexpr std::array kFiles = {
    FileRow{"loadlevel", ProcFile::kLoadlevel, 0644},
    FileRow{"where", ProcFile::kWhere, 0444},
    FileRow{"goto", ProcFile::kGoto, 0200},
    FileRow{"cantmove", ProcFile::kCantmove, 0444},
    FileRow{"nmigs", ProcFile::kNmigs, 0444},
};

struct stat stat_of(std::uint64_t ino, uid_t owner) {
  struct stat st {};
  st.st_ino = ino;
  st.st_uid = owner;
  st.st_blksize = 4096;
  st.st_nlink = 1;
  st.st_mode = S_IFDIR | 0555;
  if (const auto file = proc_file_of(ino)) {
    for (const FileRow& row : kFiles) {
      if (row.file == *file) st.st_mode = S_IFREG | row.mode;
    }
  } else {
    st.st_nlink = 2;
  }
  return st;
}

}  // namespace

void ProcDir::answer_attr(FuseAnswer answer, std::uint64_t ino, bool entry) {
  answer.let_interrupt();
  source_.owner_of(process_of(ino), [answer, ino, entry](int error, uid_t owner) {
    if (error != 0) return answer.error(error);
    const struct stat st = stat_of(ino, owner);
    if (!entry) return answer.attr(st, kTimeout_s);
    fuse_entry_param found{};
    found.ino = ino;
    found.attr = st;
    found.attr_timeout = found.entry_timeout = kTimeout_s;
    answer.entry(found);
  });
}

void ProcDir::lookup(FuseAnswer answer, const std::string& name) {
  const auto pid = SsiPid::parse(name, source_.self());
  if (!pid || process_of(process_ino(*pid)) != *pid) return answer.error(ENOENT);
  answer_attr(answer, process_ino(*pid), true);
}

void ProcDir::lookup_file(FuseAnswer answer, std::uint64_t directory, const std::string& name) {
  for (const FileRow& row : kFiles) {
    if (name == row.name) {
      return answer_attr(answer, process_ino(process_of(directory), row.file), true);
    }
  }
  answer.error(ENOENT);
}

void ProcDir::getattr(FuseAnswer answer, std::uint64_t ino) { answer_attr(answer, ino, false); }

void ProcDir::open(FuseAnswer answer, std::uint64_t ino, const fuse_file_info& info,
                   const ClusterCaller& caller) {
  const auto reply = [answer, info](std::string text) {
    fuse_file_info opened = info;
    auto* kept = new std::string(std::move(text));
    opened.fh = reinterpret_cast<std::uintptr_t>(kept);
    opened.direct_io = 1;
    answer.with([&](fuse_req_t request) {
      if (fuse_reply_open(request, &opened) == 0) kept = nullptr;
    });
    delete kept;
  };
  const ProcFile file = *proc_file_of(ino);
  if ((info.flags & O_ACCMODE) == O_WRONLY || file == ProcFile::kGoto) return reply("");
  answer.let_interrupt();
  source_.read_process(process_of(ino), file, caller, [answer, reply](int error, std::string text) {
    if (error != 0) return answer.error(error);
    reply(std::move(text));
  });
}

void ProcDir::read(FuseAnswer answer, std::size_t size, off_t offset, const fuse_file_info& info) {
  const auto& text = *reinterpret_cast<std::string*>(static_cast<std::uintptr_t>(info.fh));
  answer.bytes(text, static_cast<std::size_t>(offset), size);
}

void ProcDir::write(FuseAnswer answer, std::uint64_t ino, std::string text,
                    const ClusterCaller& caller) {
  const std::size_t size = text.size();
  const auto end = text.find_last_not_of(" \t\n");
  if (size > kTextBytesMax || end == std::string::npos) return answer.error(EINVAL);
  text.resize(end + 1);
  text.erase(0, text.find_first_not_of(" \t"));
  answer.let_interrupt();
  source_.write_process(process_of(ino), *proc_file_of(ino), std::move(text), caller,
                        [answer, size](int error) {
                          if (error != 0) return answer.error(error);
                          answer.written(size);
                        });
}

void ProcDir::release(FuseAnswer answer, const fuse_file_info& info) {
  delete reinterpret_cast<std::string*>(static_cast<std::uintptr_t>(info.fh));
  answer.error(0);
}

void ProcDir::list(std::function<void(int, Entries)> done) {
  source_.list_processes([done = std::move(done)](int error, std::vector<SsiPid> pids) {
    Entries entries;
    for (const SsiPid& pid : pids) entries.emplace_back(pid.to_string(), process_ino(pid));
    done(error, std::move(entries));
  });
}

ProcDir::Entries ProcDir::files_of(std::uint64_t directory) {
  Entries entries;
  for (const FileRow& row : kFiles) {
    entries.emplace_back(row.name, process_ino(process_of(directory), row.file));
  }
  return entries;
}

}  // namespace ssi::fs
