// Home's part in the network of its guests: which of them have which sockets where, and the rules
// of this node's kernel that follow from it. Every packet of a guest passes through its home, so
// this is the only place where rules about connections are.
//
// What it knows lies in a file a guest, and the rules in the kernel, so an ssid that dies leaves
// the guests' connections as they are; the next one takes over by start() and settle().
//
// Owned by ProcessControl. Control loop only; what takes time (netlink, nftables) is done by one
// worker thread, in order.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/thread_pool.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "migrate/net/hold_device.h"
#include "migrate/net/steering.h"
#include "migrate/net/tunnel.h"
#include "ssid/base/ids.h"
#include "ssid/base/result.h"

namespace ssi {

class HomeNet {
 public:
  using Done = std::function<void(Result<>)>;
  using AddressOf = std::function<std::string(NodeId)>;  // any thread

  HomeNet(boost::asio::io_context& io, NodeId self, std::string dir, AddressOf address_of);
  ~HomeNet();

  // What an earlier ssid left. The rules it left hold until settle().
  void start();

  // `node` makes a realm of this home: our end of the tunnel is made, and it is told how home
  // looks.
  void connect(NodeId node, std::function<void(Result<net::HomeAddresses>)> done);

  struct Hold {
    SsiPid pid;
    NodeId from;
    NodeId to;
    std::uint64_t term = 0;
    std::vector<net::MovedSocket> sockets;  // all that it has
    bool only_new = false;  // before the freeze: those that take new clients, and only these wait
  };
  void hold(Hold hold, Done done);
  // The move was given up. `forget`: it has never been away.
  void release(SsiPid pid, bool forget);
  // The move came. `copies`: what is left of it on this node, frozen, if it was here.
  void moved(SsiPid pid, NodeId to, std::vector<pid_t> copies);
  void ended(SsiPid pid);
  // The table is the group's: who is where, and that no move of an earlier term will come.
  void settle(std::uint64_t term, const std::function<std::optional<NodeId>(SsiPid)>& where);

 private:
  struct Worker;
  net::Placement* find(SsiPid pid);
  void save(SsiPid pid) const;
  // Makes the kernel's rules those of now. Packets that were held and were sent by `mute` are
  // forgotten.
  void apply(std::vector<net::MovedSocket> mute, std::vector<pid_t> silence, Done done);
  net::TunnelEnds ends(NodeId node) const;

  boost::asio::io_context& io_;
  const std::string dir_;
  const AddressOf address_of_;
  net::Steering wanted_;
  std::unique_ptr<Worker> worker_;
};

}  // namespace ssi
