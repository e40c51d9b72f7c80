#include "migrate/criu/inotify_image.h"

#include <fcntl.h>

#include <algorithm>
#include <optional>

#include "criu_images.pb.h"
#include "migrate/criu/image_entries.h"

namespace ssi::migrate {
namespace {

constexpr std::uint32_t kRegularFile = 1;  // of criu's fd_types
constexpr std::uint32_t kInotify = 8;

bool is_of(const fds::Watcher& given, const image::inotify_file_entry& entry) {
  const auto count = static_cast<std::size_t>(entry.wd_size());
  return given.watches.size() == count && std::ranges::all_of(entry.wd(), [&](const auto& wd) {
           return std::ranges::any_of(given.watches, [&](const fds::Watch& watch) {
             return static_cast<std::uint32_t>(watch.number) == wd.wd() &&
                    watch.inode == wd.i_ino() && watch.mask == wd.mask();
           });
         });
}

}  // namespace

std::string key_of_watcher(std::size_t place) { return "ssid-inotify-" + std::to_string(place); }

Result<GivenWatchers> with_given_watchers(std::string_view files,
                                          const std::vector<fds::Watcher>& given) {
  GivenWatchers changed;
  std::set<std::size_t> taken;
  bool missing = false;
  auto image = change_entries(files, "open files", [&](std::string& bytes) {
    image::file_entry entry;
    if (!entry.ParseFromString(bytes)) return false;
    if (!entry.has_ify() || entry.ify().wd_size() == 0) return true;
    // Two of the same kind with the same watches are the same to whoever reads them.
    std::optional<std::size_t> place;
    for (std::size_t i = 0; i < given.size() && !place; ++i) {
      if (!taken.contains(i) && is_of(given[i], entry.ify()) &&
          ((given[i].flags ^ entry.ify().flags()) & O_NONBLOCK) == 0) {
        place = i;
      }
    }
    if (!place) {
      missing = true;
      return true;
    }
    taken.insert(*place);
    changed.ids.insert(entry.ify().id());
    image::reg_file_entry& file = *entry.mutable_reg();
    file.set_id(entry.ify().id());
    file.set_flags(entry.ify().flags());
    file.set_pos(0);
    file.set_fown(entry.ify().fown());
    file.set_name("/" + key_of_watcher(*place));
    entry.clear_ify();
    entry.set_type(kRegularFile);
    bytes = entry.SerializeAsString();
    return true;
  });
  if (!image) return std::move(image).error();
  if (missing) return Error(ErrorCode::kRefused, "it has just begun to watch other files");
  changed.files = std::move(*image);
  return changed;
}

Result<std::string> with_files_for_watchers(std::string_view descriptors,
                                            const std::set<std::uint32_t>& ids) {
  return change_entries(descriptors, "descriptors", [&](std::string& bytes) {
    image::fdinfo_entry entry;
    if (!entry.ParseFromString(bytes)) return false;
    if (entry.type() != kInotify || !ids.contains(entry.id())) return true;
    entry.set_type(kRegularFile);
    bytes = entry.SerializeAsString();
    return true;
  });
}

}  // namespace ssi::migrate
