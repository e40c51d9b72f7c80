#include "ssid/cluster/corosync/node_list.h"

#include <charconv>
#include <cstdlib>
#include <map>
#include <memory>

#include "ssid/cluster/corosync/corosync_text.h"

namespace ssi {
namespace {

constexpr std::string_view kPrefix = "nodelist.node.";

struct Item {
  std::uint32_t id = 0;
  std::string name;
  std::map<int, std::string> addresses;  // by link
};

std::string read_text(cmap_handle_t map, const char* key) {
  char* raw = nullptr;
  if (cmap_get_string(map, key, &raw) != CS_OK || raw == nullptr) return {};
  const std::unique_ptr<char, void (*)(void*)> hold(raw, std::free);
  return raw;
}

// "ring1_addr" -> 1; -1 for anything else.
int link_of(std::string_view name) {
  if (!name.starts_with("ring") || !name.ends_with("_addr")) return -1;
  const std::string_view digits = name.substr(4, name.size() - 4 - 5);
  int link = -1;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), link);
  return error == std::errc() && end == digits.data() + digits.size() ? link : -1;
}

}  // namespace

Result<std::vector<Node>> read_node_list(cmap_handle_t map) {
  cmap_iter_handle_t iterator = 0;
  if (const cs_error_t rc = cmap_iter_init(map, kPrefix.data(), &iterator); rc != CS_OK) {
    return corosync_error("read the node list", rc);
  }
  std::map<std::string, Item> items;  // by position in the file
  char key[CMAP_KEYNAME_MAXLEN + 1];
  std::size_t length = 0;
  cmap_value_types_t type{};
  while (cmap_iter_next(map, iterator, key, &length, &type) == CS_OK) {
    const std::string_view rest = std::string_view(key).substr(kPrefix.size());
    const std::size_t dot = rest.find('.');
    if (dot == std::string_view::npos) continue;
    Item& item = items[std::string(rest.substr(0, dot))];
    const std::string_view field = rest.substr(dot + 1);
    if (field == "nodeid") {
      cmap_get_uint32(map, key, &item.id);
    } else if (field == "name") {
      item.name = read_text(map, key);
    } else if (const int link = link_of(field); link >= 0) {
      item.addresses[link] = read_text(map, key);
    }
  }
  cmap_iter_finalize(map, iterator);

  std::vector<Node> nodes;
  for (auto& [position, item] : items) {
    if (item.id == 0) continue;
    Node node{.id = NodeId{item.id}, .name = std::move(item.name), .addresses = {}};
    if (node.name.empty()) node.name = "node" + std::to_string(item.id);
    for (auto& [link, address] : item.addresses) node.addresses.push_back(std::move(address));
    nodes.push_back(std::move(node));
  }
  if (nodes.empty()) return Error("corosync's configuration has no node with a nodeid");
  std::sort(nodes.begin(), nodes.end(), [](const Node& a, const Node& b) { return a.id < b.id; });
  return nodes;
}

}  // namespace ssi
