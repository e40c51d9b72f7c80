# Debian packages, for Debian 12 and later. Sourced by ./dev.

packages=(
  # build
  g++ cmake ninja-build ccache pkg-config git clang-format python3
  scdoc man-db
  libboost-dev libflatbuffers-dev flatbuffers-compiler libspdlog-dev nlohmann-json3-dev libcli11-dev
  libnftables-dev libnl-3-dev libnl-route-3-dev libncurses-dev
  libtomlplusplus-dev libxxhash-dev libcap-dev libssl-dev libfuse3-dev libprotobuf-dev protobuf-compiler
  libcpg-dev libquorum-dev libvotequorum-dev libcfg-dev libcmap-dev libcorosync-common-dev
  doctest-dev librapidcheck-dev libbenchmark-dev musl-tools
  # run
  corosync fuse3 nftables iproute2 procps util-linux
  # what the demo and the tests move
  xz-utils openssl perl postgresql redis-server nginx default-jdk-headless
  # a person before a terminal: tests/system/tmux_test.py
  tmux vim less
)
if [[ $(. /etc/os-release && echo "${VERSION_ID:-}") == 12 ]]; then
  packages=("${packages[@]/#libboost-dev/libboost1.81-dev}")  # the default there, 1.74, is too old
fi

must_be_root() {
  [[ $EUID -eq 0 ]] || fail "$1: must be root"
}

# Prints those of its arguments that are not installed.
missing_packages() {
  comm -23 <(printf '%s\n' "$@" | sort -u) \
    <(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "$@" 2>/dev/null | sed -n 's/^installed //p' | sort -u)
}

apt() {
  DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o DPkg::Lock::Timeout=600 -o Dpkg::Use-Pty=0 "$@"
}

# without_services PACKAGE...: apt install; what is a service there is neither started now nor at boot. Those who want one start
# it themselves, on a node of a lab.
without_services() (
  local policy=/usr/sbin/policy-rc.d
  if [[ ! -e $policy ]]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
  fi
  apt install --no-install-recommends "$@" || return
  local name
  for name in "$@"; do
    [[ ! -e /lib/systemd/system/$name.service ]] || systemctl --quiet disable "$name" || true
  done
)

# install_packages NAME...: quick if all are there. One at a time on a machine, whatever the checkout.
install_packages() {
  [[ -n $(missing_packages "$@") ]] || return 0
  must_be_root setup
  exec {apt_lock}>/run/lock/ssid-dev-apt.lock
  flock "$apt_lock"
  local missing
  mapfile -t missing < <(missing_packages "$@")  # again: another one may have done it
  if [[ ${#missing[@]} -gt 0 ]]; then
    echo "./dev: installing: ${missing[*]}" >&2
    apt update >.ssid-dev/apt.log 2>&1 &&
      without_services "${missing[@]}" >>.ssid-dev/apt.log 2>&1 ||
      fail "setup: apt-get install: $(grep -m1 '^E:' .ssid-dev/apt.log || tail -n1 .ssid-dev/apt.log) (.ssid-dev/apt.log)"
  fi
  exec {apt_lock}>&-
}

ensure_packages() {
  install_packages "${packages[@]}"
}
