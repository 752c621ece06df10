#!/usr/bin/env bash
#
# Runs the tests of the code with `unsafe` under Miri: scripts/miri.sh [a test, or part of its name]...
#
# Needs a nightly toolchain with the components `miri` and `rust-src`. Without arguments it runs, in turn,
#   memtable               arenas, index, published tables, the pool of chunks; readers beside writers
#   table::slot, ::cache   the lock-free places of cached blocks
#   table::block           decoding, of damaged blocks as well
#   table::tests::eviction readers whose blocks are evicted under their eyes
#   region                 claims and stores of the log's regions, on the simulated disk
#
# Not here: `io/os_region.rs`, because Miri knows no mapped files. The crash tests and the store's own tests run
# it for real. The prefetch instructions do nothing under Miri.
#
# Miri is about a thousand times slower than the processor: tests are smaller under `cfg!(miri)`, and those that
# would need their full size are ignored there.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if ! cargo +nightly miri --version >/dev/null 2>&1; then
  echo "no Miri: rustup toolchain install nightly --component miri,rust-src" >&2
  exit 1
fi

# Some tests use real files; properties are tried on few inputs, and failures are not written down.
flags="-Zmiri-disable-isolation ${MIRIFLAGS:-}"
export PROPTEST_CASES="${PROPTEST_CASES:-2}"
export PROPTEST_DISABLE_FAILURE_PERSISTENCE=1

# The library that frees evicted blocks (crossbeam-epoch) tags its pointers and keeps to Tree Borrows, not to
# Stacked Borrows; its own tests run in the same way. What it still holds at the end is no leak of ours, and a
# leak of a block shows in the tests that count bytes and drops.
epoch_flags="-Zmiri-tree-borrows -Zmiri-permissive-provenance -Zmiri-ignore-leaks"

miri() {
  cargo +nightly miri test -p terrace --lib -- "$@"
}

if (($#)); then
  MIRIFLAGS="$flags $epoch_flags" miri "$@"
else
  MIRIFLAGS="$flags" miri memtable:: table::block:: region
  MIRIFLAGS="$flags $epoch_flags" miri table::slot:: table::cache:: table::tests::eviction::
fi
