#!/usr/bin/env bash
# How long the program takes to answer: `--help`, `plugin inspect`, and `run` on the digits until its
# first update, with the code of the plugins in the cache. Milliseconds: least, median, most.
#
#   bash benches/startup.sh [PROGRAM] [ROUNDS]
set -euo pipefail
cd "$(dirname "$0")/.."

program=${1:-target/release/incubate}
rounds=${2:-15}
if [ ! -x "$program" ]; then
    echo "$program is not there: cargo build --release, or name the program" >&2
    exit 1
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# Milliseconds since a time in microseconds.
since() {
    local now=${EPOCHREALTIME//[!0-9]/}
    echo $(((now - $1) / 1000)).$(((now - $1) / 100 % 10))
}

help() { "$program" --help >"$folder/said"; }
inspect() { "$program" plugin inspect cosine >"$folder/said"; }

# Starts the whole command and ends it at its first update.
first_update() {
    rm -rf "$folder/run"
    "$program" run digits --device cpu --json --out "$folder/run" >"$folder/events" 2>"$folder/said" &
    local process=$!
    until grep -q '"event":"update"' "$folder/events"; do
        if ! kill -0 "$process" 2>/dev/null; then
            cat "$folder/said" >&2
            exit 1
        fi
        sleep 0.002
    done
    taken=$(since "$begun")
    kill -KILL "$process"
    wait "$process" 2>/dev/null || true
}

measure() {
    local name=$1 function=$2 times=() taken= begun=0
    : >"$folder/events"
    "$function" # what comes first fills the caches
    for ((round = 0; round < rounds; round++)); do
        : >"$folder/events"
        begun=${EPOCHREALTIME//[!0-9]/}
        taken=
        "$function"
        times+=("${taken:-$(since "$begun")}")
    done
    mapfile -t times < <(printf '%s\n' "${times[@]}" | sort -n)
    printf '| %s | %s | %s | %s |\n' "$name" "${times[0]}" "${times[rounds / 2]}" "${times[rounds - 1]}"
}

echo '| command | least ms | median | most |'
echo '|---|---|---|---|'
measure '`incubate --help`' help
measure '`incubate plugin inspect cosine`' inspect
measure '`incubate run digits` to its first update' first_update
