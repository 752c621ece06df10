#!/usr/bin/env bash
#
# Fuzzes every target for so many seconds each: scripts/fuzz.sh SECONDS [TARGET...]
#
# Needs a nightly toolchain and cargo-fuzz (`cargo install cargo-fuzz`). Starts from the committed corpus; what
# libFuzzer adds goes to fuzz/target/corpus, findings to fuzz/artifacts. Prints one line a target and the sum.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../fuzz"

seconds=${1:?usage: scripts/fuzz.sh SECONDS [TARGET...]}
shift
targets=("$@")
((${#targets[@]})) || mapfile -t targets < <(basename -s .rs -a fuzz_targets/*.rs)
cargo +nightly fuzz build --features libfuzzer --sanitizer none
total=0
for target in "${targets[@]}"; do
  grown=target/corpus/$target
  mkdir -p "$grown"
  log=target/fuzz-$target.log
  if ! cargo +nightly fuzz run "$target" --features libfuzzer --sanitizer none "$grown" "corpus/$target" -- \
    -max_total_time="$seconds" -max_len=4096 -rss_limit_mb=1024 -timeout=10 -print_final_stats=1 >"$log" 2>&1; then
    tail -40 "$log"
    echo "fuzz $target FOUND something; see fuzz/$log"
    exit 1
  fi
  executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  total=$((total + executions))
  echo "fuzz $target executions=$executions"
done
echo "fuzz targets=${#targets[@]} executions=$total findings=0"
