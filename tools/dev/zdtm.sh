# CRIU's own test programs (ZDTM), made from the same source as criu, below .ssid-dev/zdtm. Sourced by ./dev.

zdtm_packages=(libaio-dev python3-protobuf)

ensure_zdtm() {
  local dir=$root/.ssid-dev/zdtm lock
  install_packages "${criu_build_packages[@]}" "${zdtm_packages[@]}"
  exec {lock}>.ssid-dev/zdtm.lock
  flock "$lock"
  if [[ ! -f $dir/stamp ]]; then
    must_be_root bench
    echo "./dev: building CRIU's test programs (a minute)" >&2
    unpack_criu_source "$dir"
    # Some need libraries or another architecture: what is not made is told by the benchmark.
    make -k -j"$(nproc)" -C "$dir/src/test/zdtm" >"$dir/log" 2>&1 || true
    [[ -x $dir/src/test/zdtm/static/env00 ]] ||
      fail "bench: zdtm: does not build: $(grep -m1 -i error "$dir/log") ($dir/log)"
    basename "$criu_tarball" >"$dir/stamp"
  fi
  exec {lock}>&-
}
