// What all links of a node share: the key that every node of the cluster has, and who we are.
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ssid/base/ids.h"
#include "ssid/base/result.h"

struct ssl_ctx_st;
struct ssl_st;

namespace ssi {

// Role: TLS 1.3 with an external pre-shared key and ephemeral Diffie-Hellman (a key that leaks
// later does not open what was recorded before), TLS_AES_128_GCM_SHA256 only, no certificates, no
// tickets. The key is HKDF-SHA256 of the cluster key, so that a mistake here can't expose
// corosync's own use of it. Made once by the composition root, shared by all links, immutable, any
// thread. What may go wrong: only at making it. Whoever has the cluster key is trusted to be the
// node it says.
class TlsContext {
 public:
  // At least kClusterKeyBytesMin bytes of key.
  static Result<std::shared_ptr<const TlsContext>> from_key(std::span<const std::byte> cluster_key,
                                                            NodeId self);
  ~TlsContext();
  TlsContext(const TlsContext&) = delete;
  TlsContext& operator=(const TlsContext&) = delete;

  NodeId self() const { return self_; }
  ssl_ctx_st* native() const { return ssl_ctx_; }

  static constexpr std::size_t kClusterKeyBytesMin = 32;
  static constexpr std::size_t kPskBytes = 32;
  const std::array<unsigned char, kPskBytes>& psk() const { return psk_; }

 private:
  TlsContext() = default;

  ssl_ctx_st* ssl_ctx_ = nullptr;
  NodeId self_;
  std::array<unsigned char, kPskBytes> psk_{};
};

// corosync's authkey: a plain file of root (or of us) that nobody else can read.
Result<std::vector<std::byte>> read_cluster_key(const std::string& path);

// Pure: "ssid-1:3" and back; the identity that a connecting node shows.
std::string psk_identity(NodeId node);
Result<NodeId> parse_psk_identity(std::string_view identity);

}  // namespace ssi
