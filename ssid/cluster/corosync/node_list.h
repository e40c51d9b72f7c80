// The configured nodes, read from corosync's own map (the nodelist of corosync.conf as it is in
// force).
#pragma once

#include <corosync/cmap.h>

#include <vector>

#include "ssid/cluster/cluster.h"

namespace ssi {

// Sorted by id. A node without a name gets "nodeN". Error if there is no node with an id and an
// address.
Result<std::vector<Node>> read_node_list(cmap_handle_t map);

}  // namespace ssi
