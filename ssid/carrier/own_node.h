// Which node of corosync.conf this machine is.
#pragma once

#include <set>
#include <string>
#include <string_view>

#include "ssid/base/ids.h"

namespace ssi {

// Pure: the nodeid of the node{} section that has one of these addresses (ringN_addr) or this name.
Result<NodeId> own_node_in(std::string_view corosync_conf, const std::set<std::string>& addresses,
                           std::string_view host_name);
// With this machine's interfaces and host name.
Result<NodeId> find_own_node(const std::string& corosync_conf_path);

}  // namespace ssi
