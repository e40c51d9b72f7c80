# CRIU >= 4.2 that works on this kernel, as .ssid-dev/criu/criu: the installed one, else the archive's,
# else built from Debian's source. Debian 12 has 3.17, which recent kernels break; Debian 13 has 4.1.1,
# whose dump waits for ever on the page stream of a move. Sourced by ./dev.

criu_version_min=4.2
criu_build_packages=(
  build-essential libbsd-dev libcap-dev libgnutls28-dev libnet1-dev libnftables-dev libnl-3-dev
  libnl-route-3-dev libprotobuf-c-dev libprotobuf-dev protobuf-c-compiler protobuf-compiler
  python3-protobuf uuid-dev pkg-config
)

# criu_works PROGRAM: new enough, and at home on this kernel.
criu_works() {
  local version
  version=$("$1" --version 2>/dev/null | sed -n 's/^Version: //p') || return 1
  dpkg --compare-versions "${version:-0}" ge "$criu_version_min" || return 1
  "$1" --no-default-config check >.ssid-dev/criu-check.log 2>&1
}

# take_criu PROGRAM SOURCE: makes it ours; the stamp comes last.
take_criu() {
  mkdir -p .ssid-dev/criu
  install -m 755 "$1" .ssid-dev/criu/criu.new
  mv .ssid-dev/criu/criu.new .ssid-dev/criu/criu
  echo "$2" >.ssid-dev/criu/stamp
}

criu_source_suites=(sid testing)

# unpack_criu_source DIR: fetches it and unpacks it into DIR/src; sets criu_tarball.
unpack_criu_source() {
  local dir=$1 suite
  criu_tarball=
  rm -rf "$dir"
  mkdir -p "$dir/src"
  for suite in "${criu_source_suites[@]}"; do
    criu_tarball=$(fetch_source "$dir" criu criu "$suite") && break
  done
  [[ -n $criu_tarball ]] || fail "setup: criu: fetch its source: $(grep -m1 '^E:' "$dir/apt.log") ($dir/apt.log)"
  tar -xf "$criu_tarball" -C "$dir/src" --strip-components=1
}

build_criu() {
  local dir=$root/.ssid-dev/criu-build
  echo "./dev: building criu from Debian's source (half a minute)" >&2
  unpack_criu_source "$dir"
  make -C "$dir/src" -j"$(nproc)" criu >"$dir/log" 2>&1 ||
    fail "setup: criu: does not build: $(grep -m1 -i error "$dir/log") ($dir/log)"
  criu_works "$dir/src/criu/criu" ||
    fail "setup: criu: does not work on this kernel: $(grep -m1 Error .ssid-dev/criu-check.log)"
  take_criu "$dir/src/criu/criu" "built from $(basename "$criu_tarball")"
  rm -rf "$dir"
}

ensure_criu() {
  # Running it also proves that the libraries it needs are still there.
  if [[ -f .ssid-dev/criu/stamp ]] && .ssid-dev/criu/criu --version >/dev/null 2>&1; then
    return 0
  fi
  must_be_root setup
  local lock installed candidate
  exec {lock}>.ssid-dev/criu.lock
  flock "$lock"
  if [[ -f .ssid-dev/criu/stamp ]] && .ssid-dev/criu/criu --version >/dev/null 2>&1; then
    exec {lock}>&-
    return 0
  fi
  installed=$(command -v criu || true)
  if [[ -z $installed ]]; then
    candidate=$(LC_ALL=C apt-cache policy criu 2>/dev/null | sed -n 's/^ *Candidate: //p')
    if dpkg --compare-versions "${candidate:-0}" ge "$criu_version_min"; then
      install_packages criu
      installed=$(command -v criu || true)
    fi
  fi
  if [[ -n $installed ]] && criu_works "$installed"; then
    take_criu "$installed" "installed $installed"
  else
    install_packages "${criu_build_packages[@]}"
    build_criu
  fi
  exec {lock}>&-
}
