#!/usr/bin/env bash
#
# Runs units of Redis's own test suite against this server: scripts/redis-suite.sh REDIS_SOURCE_DIR [UNIT]...
#
# REDIS_SOURCE_DIR is an unpacked source of Redis (7.0 or later), of which only `tests` is used; it is not changed.
# Needs `tclsh`, and `redis-cli` and `redis-benchmark` on the path for the few tests that start them. Each unit gets a
# server of its own on a fresh directory, except those whose tests start servers with a configuration of their own:
# there the suite starts Terrace by a program that reads Redis's configuration file. Prints a line per unit, then the
# tests that failed; whole logs are kept in the directory that is named at the end.
#
#   TERRACE=path         the program to run; otherwise a release build is made
#   TAGS="-needs:debug"  more tags of tests to leave out
#   TERRACE_THREADS=N    event loops, 1 otherwise: the tests take it for granted that what several connections send
#                        without waiting for replies is run in the order in which it was sent
#   STRICT=yes           ends a unit at the first error reply that a test did not expect
#
# "aborted" counts what ended a unit early: such a reply, a dead server, no end within ten minutes. Most tests that fail use lists, sets, sorted sets, streams or scripts, which this server has not.

set -euo pipefail

if (($# < 1)) || [[ ! -f $1/tests/test_helper.tcl ]]; then
  echo "usage: $0 REDIS_SOURCE_DIR [UNIT]...   (REDIS_SOURCE_DIR has tests/test_helper.tcl)" >&2
  exit 2
fi
source_dir=$(cd "$1" && pwd)
shift
cd "$(dirname "${BASH_SOURCE[0]}")/.."

units=("$@")
if ((${#units[@]} == 0)); then
  units=(
    type/string type/incr type/hash type/hash-field-expire keyspace dump expire scan multi pubsub pubsubshard bitops
    bitfield protocol querybuf networking introspection introspection-2 info info-command slowlog latency-monitor
    other auth acl acl-v2 tracking pause
  )
fi
tags="-needs:repl -needs:reset -needs:config-maxmemory ${TAGS:-}"
runner_args=()
if [[ ${STRICT:-no} != yes ]]; then runner_args+=(--durable); fi
# Units whose tests are all for servers that the suite has started.
starts_servers=" info auth acl acl-v2 type/hash-field-expire pubsubshard networking "

export TERRACE_THREADS=${TERRACE_THREADS:-1}
if [[ -z ${TERRACE:-} ]]; then
  cargo build --release -q -p terrace-cli
  TERRACE=target/release/terrace
fi
terrace=$(realpath "$TERRACE")

work=$(mktemp -d)
cp -r "$source_dir/tests" "$work/tests"
mkdir -p "$work/src" "$work/tests/tmp"
for program in redis-cli redis-benchmark redis-server; do
  if found=$(command -v "$program"); then ln -s "$found" "$work/src/$program"; fi
done

# These use lists, sets, sorted sets, streams, scripts, eviction or the files of an AOF halfway through, and what they leave
# undone (an open MULTI, a client that tracks, events that nobody raises) spoils or holds up the tests that follow.
cat >"$work/skip" <<'END'
command stats for MULTI
command stats for scripts
Keyspace notifications: we are able to mask events
Keyspace notifications: list events test
Keyspace notifications: set events test
Keyspace notifications: zset events test
Keyspace notifications: stream events test
Keyspace notifications: evicted events
Tracking invalidation message of eviction keys should be before response
Unblocked BLMOVE gets notification after response
/propagated to replica
/propagated as absolute timestamp in milliseconds in AOF
END
runner_args+=(--skipfile "$work/skip")

# Starts Terrace the way the suite starts Redis: with a file in Redis's form. What Terrace decides otherwise (where the
# data are, whether there is a log) and what is no parameter of its own is left out.
cat >"$work/src/start" <<'END'
#!/usr/bin/env bash
while read -r name value; do
  case $name in
    '' | '#'* | appendonly | appendfsync | daemonize | loadmodule | bind | pidfile | logfile | loglevel | user) ;;
    rename-command | include) ;;
    dir) dir=$value ;;
    *)
      value=${value#[\"\']}
      export "TERRACE_$(tr 'a-z-' 'A-Z_' <<<"$name")=${value%[\"\']}"
      ;;
  esac
done <"$1"
echo "Started with PID: $$ Server initialized, Ready to accept connections"
exec "$PROGRAM" serve --dir "${dir:-.}/data" --durability process --loglevel nothing
END
chmod +x "$work/src/start"

server=
stop() {
  if [[ -n $server ]]; then kill "$server" 2>/dev/null && wait "$server" 2>/dev/null || true; fi
  server=
}
trap stop EXIT

# Starts a server on a free port; sets `server` and `port`.
start() {
  local log=$1 dir
  dir=$(mktemp -d -p "$work" data.XXXXXX)
  TERRACE_ENABLE_DEBUG_COMMAND=yes "$terrace" serve --dir "$dir" --port 0 --durability process >"$log" 2>&1 &
  server=$!
  for _ in {1..100}; do
    port=$(grep -soE '127\.0\.0\.1:[0-9]+' "$log" | head -1 | cut -d: -f2 || true)
    if [[ -n $port ]]; then return; fi
    sleep 0.1
  done
  echo "the server did not start: $log" >&2
  exit 1
}

count() { grep -cE "$1" "$2" || true; }

printf '%-24s %7s %7s %8s\n' unit passed failed aborted
for unit in "${units[@]}"; do
  log=$work/${unit//\//-}.log
  if [[ ! -f $work/tests/unit/$unit.tcl ]]; then
    printf '%-24s %s\n' "$unit" "not in this source"
    continue
  fi
  own=
  if [[ $starts_servers == *" $unit "* ]]; then own=yes; fi
  rm -f "$work/src/redis-server"
  if [[ -n $own ]]; then
    ln -s start "$work/src/redis-server"
    where=(--clients 1 --tags "$tags")
  else
    if found=$(command -v redis-server); then ln -s "$found" "$work/src/redis-server"; fi
    start "$work/${unit//\//-}.server.log"
    where=(--host 127.0.0.1 --port "$port" --tags "$tags -external:skip")
  fi
  (cd "$work" && PROGRAM=$terrace timeout 600 tclsh tests/test_helper.tcl "${where[@]}" \
    --single "unit/$unit" "${runner_args[@]}") 2>&1 </dev/null | sed -u 's/\x1b\[[0-9;]*m//g' >"$log" || true
  aborted=$(count '^\[exception\]|\[TIMEOUT\]' "$log")
  if [[ -z $own ]] && ! kill -0 "$server" 2>/dev/null; then aborted=$((aborted > 0 ? aborted : 1)); fi
  if ! grep -qE 'The End|done\]: unit' "$log"; then aborted=$((aborted > 0 ? aborted : 1)); fi
  printf '%-24s %7s %7s %8s\n' "$unit" "$(count '^\[ok\]' "$log")" "$(count '^\[err\]' "$log")" "$aborted"
  stop
done
echo
grep -hE '^\[(err|exception)\]' "$work"/*.log | sort -u || true
echo "logs: $work"
