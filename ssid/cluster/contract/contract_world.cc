#include "ssid/cluster/contract/contract_world.h"

#include <cstring>
#include <sstream>
#include <utility>

namespace ssi {
namespace {

WorldMaker& maker() {
  static WorldMaker the_maker;
  return the_maker;
}

std::uint8_t byte_at(std::uint64_t seq, std::uint64_t i) {
  return static_cast<std::uint8_t>(seq * 31 + i * 7 + (i >> 9));
}

}  // namespace

void set_contract_world(WorldMaker world_maker) { maker() = std::move(world_maker); }
std::unique_ptr<ContractWorld> make_contract_world() { return maker()(); }

std::string Observation::to_string() const {
  std::ostringstream out;
  if (is_view) {
    out << "view";
    for (const NodeId node : members) out << " " << node.value;
    out << (quorate ? " quorate" : "");
    for (const NodeId node : joined) out << " +" << node.value;
    for (const NodeId node : left) out << " -" << node.value;
  } else {
    out << "message " << seq << " of node " << from.value << ", " << size << " bytes"
        << (intact ? "" : ", DAMAGED") << (sender_in_view ? "" : ", sender not in the view");
  }
  return out.str();
}

std::vector<std::uint8_t> contract_message(std::uint64_t seq, std::uint64_t size) {
  SSI_CHECK(size >= 16);
  std::vector<std::uint8_t> bytes(size);
  std::memcpy(bytes.data(), &seq, 8);
  std::memcpy(bytes.data() + 8, &size, 8);
  for (std::uint64_t i = 16; i < size; ++i) bytes[i] = byte_at(seq, i);
  return bytes;
}

Observation observe_message(const View& view, NodeId from, std::span<const std::uint8_t> bytes) {
  Observation seen;
  seen.from = from;
  seen.sender_in_view = view.has(from);
  if (bytes.size() < 16) return seen;
  std::memcpy(&seen.seq, bytes.data(), 8);
  std::memcpy(&seen.size, bytes.data() + 8, 8);
  seen.intact = seen.size == bytes.size();
  for (std::uint64_t i = 16; i < bytes.size() && seen.intact; ++i) {
    seen.intact = bytes[i] == byte_at(seen.seq, i);
  }
  return seen;
}

Observation observe_view(const View& view, const std::vector<NodeId>& joined,
                         const std::vector<NodeId>& left) {
  Observation seen;
  seen.is_view = true;
  seen.members = view.members;
  seen.joined = joined;
  seen.left = left;
  seen.quorate = view.quorate;
  return seen;
}

}  // namespace ssi
