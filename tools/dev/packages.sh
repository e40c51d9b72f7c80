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

# fetch_source DIR NAME WANTED SUITE...: the source NAME in Debian's archive, fetched by apt (which checks the signature) with
# lists and a cache of its own; WANTED is NAME or NAME=VERSION; the mirrors are those that this machine's apt uses. Prints the tarball.
fetch_source() {
  local dir=$1 name=$2 wanted=$3 suite mirror mirrors
  mirrors=$(apt-get indextargets --format '$(REPO_URI) $(CODENAME)' 'Origin: Debian' | sort -u)
  if [[ -z $mirrors ]]; then
    echo "E: apt knows no Debian mirror: apt-get update first?"
    return 1
  fi >"$dir/apt.log"
  mkdir -p "$dir"/{lists/partial,cache/archives/partial}
  for suite in "${@:4}"; do
    # A suite of security has a mirror of its own.
    mirror=$(awk -v suite="$suite" 'suite ~ /-security$/ ? $2 ~ /-security$/ : $2 !~ /-security$/ { print $1; exit }' <<<"$mirrors")
    [[ -z $mirror ]] || echo "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main"
  done >"$dir/sources.list"
  local options=(-qq -o "Dir::Etc::sourcelist=$dir/sources.list" -o Dir::Etc::sourceparts=-
    -o "Dir::State::Lists=$dir/lists" -o "Dir::Cache=$dir/cache" -o APT::Sandbox::User=root
    -o Acquire::Check-Valid-Until=false)  # signed all the same; a mirror may lag, a clock be off
  {
    apt-get "${options[@]}" update &&
      (cd "$dir" && apt-get "${options[@]}" source --download-only --tar-only "$wanted")
  } >>"$dir/apt.log" 2>&1
  find "$dir" -maxdepth 1 -name "${name}_*.orig.tar.*" ! -name '*.asc' | grep .
}
