#include "ssid/wire/carrier/sha256.h"

#include <openssl/evp.h>

#include "ssid/base/check.h"

namespace ssi {

Sha256::Sha256() : context_(EVP_MD_CTX_new()) {
  SSI_CHECK(context_ != nullptr);
  SSI_CHECK(EVP_DigestInit_ex(static_cast<EVP_MD_CTX*>(context_), EVP_sha256(), nullptr) == 1);
}

Sha256::~Sha256() { EVP_MD_CTX_free(static_cast<EVP_MD_CTX*>(context_)); }

void Sha256::add(std::span<const std::uint8_t> bytes) {
  SSI_CHECK(EVP_DigestUpdate(static_cast<EVP_MD_CTX*>(context_), bytes.data(), bytes.size()) == 1);
}

Sha256Digest Sha256::finish() {
  Sha256Digest digest{};
  unsigned int size = 0;
  SSI_CHECK(EVP_DigestFinal_ex(static_cast<EVP_MD_CTX*>(context_), digest.data(), &size) == 1);
  SSI_CHECK(size == digest.size());
  return digest;
}

}  // namespace ssi
