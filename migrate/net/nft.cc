#include "migrate/net/nft.h"

#include <nftables/libnftables.h>

#include <memory>

namespace ssi::net {

Result<> apply_nft(const std::string& commands) {
  const std::unique_ptr<nft_ctx, void (*)(nft_ctx*)> context(nft_ctx_new(NFT_CTX_DEFAULT),
                                                             nft_ctx_free);
  if (!context) return Error("nftables: no memory");
  nft_ctx_buffer_error(context.get());
  nft_ctx_buffer_output(context.get());
  if (nft_run_cmd_from_buffer(context.get(), commands.c_str()) == 0) return {};
  const std::string said = nft_ctx_get_error_buffer(context.get());
  return Error("nftables: " + said.substr(0, said.find('\n')));
}

}  // namespace ssi::net
