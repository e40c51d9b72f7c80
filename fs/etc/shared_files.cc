#include "fs/etc/shared_files.h"

#include "ssid/base/check.h"

namespace ssi {

using etc::Change;
using etc::Kind;

const etc::File* SharedFiles::find(std::string_view name) const {
  const auto at = files_.find(name);
  return at == files_.end() ? nullptr : &at->second;
}

EtcOutcome SharedFiles::judge(const Change& change) const {
  if (change.kind == Kind::kBeginTerm) return EtcOutcome::kDone;
  const etc::File* file = find(change.name);
  const etc::File* expected = change.kind == Kind::kRename ? find(change.to) : file;
  const bool needs_file = change.kind != Kind::kPut && change.kind != Kind::kAppend;
  if (needs_file && file == nullptr) return EtcOutcome::kNoFile;
  if (change.expects != etc::kAnyVersion &&
      change.expects != (expected != nullptr ? expected->version : etc::kNoFile)) {
    return EtcOutcome::kChanged;
  }
  if (needs_file) return EtcOutcome::kDone;

  const std::size_t before = file != nullptr ? file->contents.size() : 0;
  const std::size_t after = change.contents.size() + (change.kind == Kind::kAppend ? before : 0);
  if (after > etc::kFileBytesMax) return EtcOutcome::kTooLarge;
  if (total_bytes_ - before + after > etc::kTotalBytesMax) return EtcOutcome::kTooLarge;
  if (file == nullptr && files_.size() >= etc::kFilesMax) return EtcOutcome::kTooMany;
  return EtcOutcome::kDone;
}

void SharedFiles::apply(const Change& change, std::uint64_t version) {
  switch (change.kind) {
    case Kind::kBeginTerm:
      return;
    case Kind::kRemove: {
      const auto at = files_.find(change.name);
      SSI_CHECK(at != files_.end());
      total_bytes_ -= at->second.contents.size();
      files_.erase(at);
      return;
    }
    case Kind::kRename: {
      if (change.name == change.to) return;
      auto moved = files_.extract(change.name);
      SSI_CHECK(!moved.empty());
      if (const auto at = files_.find(change.to); at != files_.end()) {
        total_bytes_ -= at->second.contents.size();
        files_.erase(at);
      }
      moved.key() = change.to;
      moved.mapped().version = version;
      files_.insert(std::move(moved));
      return;
    }
    case Kind::kAttributes: {
      etc::File& file = files_.at(change.name);
      file.mode = change.mode;
      file.mtime_ns = change.mtime_ns;
      return;
    }
    case Kind::kPut:
    case Kind::kAppend: {
      const auto [at, created] = files_.try_emplace(change.name);
      etc::File& file = at->second;
      total_bytes_ -= file.contents.size();
      if (change.kind == Kind::kPut) file.contents.clear();
      file.contents += change.contents;
      total_bytes_ += file.contents.size();
      if (created || change.kind == Kind::kPut) file.mode = change.mode;
      file.mtime_ns = change.mtime_ns;
      file.version = version;
      return;
    }
  }
}

void SharedFiles::restore(Files files) {
  files_ = std::move(files);
  total_bytes_ = 0;
  for (const auto& [name, file] : files_) total_bytes_ += file.contents.size();
}

std::uint64_t history_after(std::uint64_t history, const Change& change) {
  // FNV-1a over the fields, each text with its length in front.
  const auto mix_byte = [&history](std::uint8_t byte) {
    history = (history ^ byte) * 0x100000001b3u;
  };
  const auto mix = [&](std::uint64_t number) {
    for (int i = 0; i < 8; ++i) mix_byte(static_cast<std::uint8_t>(number >> (8 * i)));
  };
  const auto mix_text = [&](const std::string& text) {
    mix(text.size());
    for (const char c : text) mix_byte(static_cast<std::uint8_t>(c));
  };
  if (history == 0) history = 0xcbf29ce484222325u;
  mix(static_cast<std::uint64_t>(change.kind));
  mix_text(change.name);
  mix_text(change.to);
  mix_text(change.contents);
  mix(change.mode);
  mix(static_cast<std::uint64_t>(change.mtime_ns));
  mix(change.expects);
  mix(change.sender.value);
  mix(change.proposal);
  mix(change.term);
  return history;
}

}  // namespace ssi
