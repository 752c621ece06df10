#!/usr/bin/env bash
#
# Runs the tests with real threads under ThreadSanitizer: scripts/tsan.sh [TEST...]
#
# Needs a nightly toolchain with rust-src (`rustup component add rust-src --toolchain nightly`). The standard library
# is built anew, instrumented, so the first run takes a while. Fences are not understood by ThreadSanitizer, which
# crossbeam-epoch uses; scripts/tsan-suppressions.txt names what that makes it report in vain.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

tests=("$@")
((${#tests[@]})) || tests=(threads stepped by_hand closing)
host=$(rustc -vV | sed -n 's/^host: //p')
export RUSTFLAGS="-Zsanitizer=thread"
export TSAN_OPTIONS="suppressions=$PWD/scripts/tsan-suppressions.txt halt_on_error=0 second_deadlock_stack=1"
export TERRACE_THREADS_SECONDS="${TERRACE_THREADS_SECONDS:-10}"
for test in "${tests[@]}"; do
  cargo +nightly test -Zbuild-std --target "$host" --target-dir target/tsan -p terrace-sim --test "$test"
done
