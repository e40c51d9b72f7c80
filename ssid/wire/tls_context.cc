#include "ssid/wire/tls_context.h"

#include <fcntl.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/ssl.h>
#include <sys/stat.h>

#include <charconv>
#include <cstring>

#include "ssid/base/unique_fd.h"

namespace ssi {
namespace {

constexpr std::string_view kIdentityPrefix = "ssid-1:";
constexpr std::string_view kHkdfSalt = "ssid link";
constexpr std::string_view kHkdfInfo = "tls 1.3 external psk, sha256, 1";
constexpr std::size_t kClusterKeyBytesMax = 65536;
// TLS_AES_128_GCM_SHA256
constexpr unsigned char kCipherId[] = {0x13, 0x01};

OSSL_PARAM octets(const char* name, std::string_view value) {
  return OSSL_PARAM_construct_octet_string(name, const_cast<char*>(value.data()), value.size());
}

bool hkdf_sha256(std::span<const std::byte> key, std::span<unsigned char> out) {
  EVP_KDF* kdf = EVP_KDF_fetch(nullptr, "HKDF", nullptr);
  EVP_KDF_CTX* kdf_ctx = kdf == nullptr ? nullptr : EVP_KDF_CTX_new(kdf);
  const std::string_view key_text(reinterpret_cast<const char*>(key.data()), key.size());
  const OSSL_PARAM params[] = {
      OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, const_cast<char*>("SHA256"), 0),
      octets(OSSL_KDF_PARAM_KEY, key_text), octets(OSSL_KDF_PARAM_SALT, kHkdfSalt),
      octets(OSSL_KDF_PARAM_INFO, kHkdfInfo), OSSL_PARAM_construct_end()};
  const bool done =
      kdf_ctx != nullptr && EVP_KDF_derive(kdf_ctx, out.data(), out.size(), params) == 1;
  EVP_KDF_CTX_free(kdf_ctx);
  EVP_KDF_free(kdf);
  return done;
}

// The key as OpenSSL wants it: a session that never was.
SSL_SESSION* make_session(SSL* ssl) {
  const auto* context = static_cast<const TlsContext*>(SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)));
  const SSL_CIPHER* cipher = SSL_CIPHER_find(ssl, kCipherId);
  SSL_SESSION* session = SSL_SESSION_new();
  if (cipher == nullptr || session == nullptr ||
      SSL_SESSION_set1_master_key(session, context->psk().data(), context->psk().size()) != 1 ||
      SSL_SESSION_set_cipher(session, cipher) != 1 ||
      SSL_SESSION_set_protocol_version(session, TLS1_3_VERSION) != 1) {
    SSL_SESSION_free(session);
    return nullptr;
  }
  return session;
}

// Connecting: which key, and under what identity.
int use_session(SSL* ssl, const EVP_MD* digest, const unsigned char** identity,
                std::size_t* identity_bytes, SSL_SESSION** session) {
  *session = nullptr;
  if (digest != nullptr && EVP_MD_get_type(digest) != NID_sha256) return 1;
  *session = make_session(ssl);
  if (*session == nullptr) return 0;
  const auto* own = static_cast<const std::string*>(SSL_get_app_data(ssl));
  *identity = reinterpret_cast<const unsigned char*>(own->data());
  *identity_bytes = own->size();
  return 1;
}

// Accepting: remembers who it says it is (the link reads it after the handshake).
int find_session(SSL* ssl, const unsigned char* identity, std::size_t identity_bytes,
                 SSL_SESSION** session) {
  *session = nullptr;
  const std::string_view shown(reinterpret_cast<const char*>(identity), identity_bytes);
  if (!parse_psk_identity(shown)) return 1;  // no such key: the handshake fails
  *static_cast<std::string*>(SSL_get_app_data(ssl)) = shown;
  *session = make_session(ssl);
  return *session == nullptr ? 0 : 1;
}

}  // namespace

Result<std::shared_ptr<const TlsContext>> TlsContext::from_key(
    std::span<const std::byte> cluster_key, NodeId self) {
  if (cluster_key.size() < kClusterKeyBytesMin)
    return Error("the cluster key has only " + std::to_string(cluster_key.size()) +
                 " bytes, at least " + std::to_string(kClusterKeyBytesMin) + " are needed");
  if (!self) return Error("a link needs a node number");
  std::shared_ptr<TlsContext> made(new TlsContext);
  made->self_ = self;
  if (!hkdf_sha256(cluster_key, made->psk_)) return Error("HKDF-SHA256 failed");
  SSL_CTX* ctx = SSL_CTX_new(TLS_method());
  made->ssl_ctx_ = ctx;
  if (ctx == nullptr || SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) != 1 ||
      SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION) != 1 ||
      SSL_CTX_set_ciphersuites(ctx, "TLS_AES_128_GCM_SHA256") != 1 ||
      SSL_CTX_set1_groups_list(ctx, "X25519") != 1 || SSL_CTX_set_num_tickets(ctx, 0) != 1)
    return Error("OpenSSL can't do TLS 1.3 with AES-128-GCM and X25519");
  SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
  SSL_CTX_set_psk_use_session_callback(ctx, use_session);
  SSL_CTX_set_psk_find_session_callback(ctx, find_session);
  SSL_CTX_set_app_data(ctx, made.get());
  return std::shared_ptr<const TlsContext>(std::move(made));
}

TlsContext::~TlsContext() {
  SSL_CTX_free(ssl_ctx_);
  OPENSSL_cleanse(psk_.data(), psk_.size());
}

Result<std::vector<std::byte>> read_cluster_key(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) return Error::from_errno("open " + path);
  struct stat st {};
  if (::fstat(*fd, &st) != 0) return Error::from_errno("stat " + path);
  if (!S_ISREG(st.st_mode)) return Error(path + ": not a plain file");
  if (st.st_uid != 0 && st.st_uid != ::geteuid()) return Error(path + ": not owned by root");
  if ((st.st_mode & 077) != 0) return Error(path + ": others can read it; chmod it to 0400");
  if (st.st_size > static_cast<off_t>(kClusterKeyBytesMax))
    return Error(path + ": too big for a key");
  std::vector<std::byte> key(static_cast<std::size_t>(st.st_size));
  std::size_t done = 0;
  while (done < key.size()) {
    const ssize_t n = ::read(*fd, key.data() + done, key.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Error::from_errno("read " + path);
    if (n == 0) return Error("read " + path + ": it became shorter");
    done += static_cast<std::size_t>(n);
  }
  return key;
}

std::string psk_identity(NodeId node) {
  return std::string(kIdentityPrefix) + std::to_string(node.value);
}

Result<NodeId> parse_psk_identity(std::string_view identity) {
  const Error bad("not an identity of a node");
  if (!identity.starts_with(kIdentityPrefix)) return bad;
  identity.remove_prefix(kIdentityPrefix.size());
  NodeId node;
  const char* end = identity.data() + identity.size();
  const auto [at, error] = std::from_chars(identity.data(), end, node.value);
  if (error != std::errc{} || at != end || !node ||
      psk_identity(node).size() != kIdentityPrefix.size() + identity.size())
    return bad;
  return node;
}

}  // namespace ssi
