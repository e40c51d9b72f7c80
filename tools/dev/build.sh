# Configures and builds a preset; one build of a preset at a time. Sourced by ./dev.

build() {
  local preset=$1 lock
  mkdir -p build
  exec {lock}>"build/.lock-$preset"
  flock "$lock"
  if [[ ! -f build/$preset/build.ninja ]]; then
    cmake --preset "$preset" >"build/.configure-$preset.log" 2>&1 ||
      { cat "build/.configure-$preset.log" >&2 && fail "build: $preset: cmake failed"; }
  fi
  cmake --build --preset "$preset" || fail "build: $preset failed"
  exec {lock}>&-
}

# The same without a word if there is nothing to do.
ensure_built() {
  local preset=$1
  if [[ -f build/$preset/build.ninja ]] && [[ $(ninja -C "build/$preset" -n 2>/dev/null) == *"no work to do"* ]]; then
    return 0
  fi
  build "$preset"
}
