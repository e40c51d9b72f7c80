# PostgreSQL's own regression suite, from the source of the very version that is installed, below .ssid-dev/pgregress:
# `suite` has what pg_regress wants to see. Sourced by ./dev.

# Prints the path of what a test's SQL loads (regress.so) as the installed server can load it.
build_regress_so() {
  local dir=$1 headers=$2
  # As pgxs does it, which is in a package that brings two compilers along.
  cc -O2 -fPIC -shared -fno-strict-aliasing -fwrapv -D_GNU_SOURCE -I"$headers" -o "$dir/suite/regress.so" "$dir/src/src/test/regress/regress.c"
}

ensure_pgregress() {
  local dir=$root/.ssid-dev/pgregress lock package version codename tarball
  package=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' 'postgresql-[0-9]*' | sed -n 's/^installed \(postgresql-[0-9]*\)$/\1/p' | sort -V | tail -n1)
  [[ -n $package ]] || fail "bench: pgregress: no PostgreSQL is installed"
  version=$(dpkg-query -W -f '${Version}' "$package")
  exec {lock}>.ssid-dev/pgregress.lock
  flock "$lock"
  if [[ $(cat "$dir/stamp" 2>/dev/null) != "$version" ]]; then
    must_be_root bench
    echo "./dev: fetching PostgreSQL's regression suite, $version (half a minute)" >&2
    rm -rf "$dir"
    mkdir -p "$dir"/{src,headers,suite}
    codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
    tarball=$(fetch_source "$dir" "$package" "$package=$version" "$codename" "$codename-updates" "$codename-security") ||
      fail "bench: pgregress: fetch the source of $package $version: $(grep -m1 '^E:' "$dir/apt.log") ($dir/apt.log)"
    tar -xf "$tarball" -C "$dir/src" --strip-components=1 --wildcards '*/src/test/regress'
    # Its headers only, without what its package depends on.
    (cd "$dir/headers" && apt-get -qq -o APT::Sandbox::User=root download "postgresql-server-dev-${package#*-}=$version") >>"$dir/apt.log" 2>&1 &&
      dpkg-deb -x "$dir"/headers/*.deb "$dir/headers" ||
      fail "bench: pgregress: fetch the server's headers: $(grep -m1 '^E:' "$dir/apt.log") ($dir/apt.log)"
    build_regress_so "$dir" "$dir/headers/usr/include/postgresql/${package#*-}/server" >"$dir/log" 2>&1 ||
      fail "bench: pgregress: regress.so does not build: $(grep -m1 -i error "$dir/log") ($dir/log)"
    cp -r "$dir"/src/src/test/regress/{sql,expected,data,parallel_schedule,resultmap} "$dir/suite"
    rm -rf "$dir/src" "$dir/headers" "$tarball"
    echo "$version" >"$dir/stamp"
  fi
  exec {lock}>&-
}
