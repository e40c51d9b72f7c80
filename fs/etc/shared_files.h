// The files of /cluster/etc as a value: names and contents, and what a change does to them. Pure;
// the same changes in the same order give the same files everywhere.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "ssid/wire/etc/etc_codec.h"

namespace ssi {

// What became of a change.
enum class EtcOutcome {
  kDone,
  kChanged,   // the file is not the version that was expected; nothing was done
  kNoFile,    // there is no such file
  kTooLarge,  // one file, or all of them together, would be
  kTooMany,   // files
  kNoQuorum,  // refused: nothing was done, or will be
  kUnsure,    // the cluster fell apart meanwhile: it may have been done, or not
};

class SharedFiles {
 public:
  using Files = std::map<std::string, etc::File, std::less<>>;

  const Files& all() const { return files_; }
  const etc::File* find(std::string_view name) const;  // nullptr: none

  // kDone: apply() may follow.
  EtcOutcome judge(const etc::Change& change) const;
  // `version`: the place of the change among all changes. It was judged kDone.
  void apply(const etc::Change& change, std::uint64_t version);

  void restore(Files files);
  bool operator==(const SharedFiles&) const = default;

 private:
  Files files_;
  std::size_t total_bytes_ = 0;
};

// The hash of a sequence of changes with one more behind it: two copies with the same hash hold the
// same changes.
std::uint64_t history_after(std::uint64_t history, const etc::Change& change);

}  // namespace ssi
