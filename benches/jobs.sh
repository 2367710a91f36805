#!/usr/bin/env bash
# How much time `run --jobs` saves: the modules of the digits one after the other in one process, and
# two at a time, in turns on this machine, from the same meta model. It says how many cores the one process
# kept busy: what it leaves is what there is to save.
#
#   bash benches/jobs.sh                                    # five rounds
#   bash benches/jobs.sh 3 --set module.epochs=2            # three, of shorter modules
#   bash benches/jobs.sh 3 --set training.batch=8           # batches that one core is enough for
#   INCUBATE_JOBS=4 bash benches/jobs.sh 3 --set partition.modules=8
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

rounds="${1:-5}"
shift || true
jobs="${INCUBATE_JOBS:-2}"
cargo build --release --locked --quiet
incubate="${CARGO_TARGET_DIR:-target}/release/incubate"
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT

run() {
    "$incubate" run digits --device cpu "$@" >/dev/null 2>"$scratch/said" || {
        cat "$scratch/said" >&2
        exit 1
    }
}

# Seconds for all modules, from a copy of the run with the meta model, by the clock and by the processors.
modules() {
    local folder="$scratch/run" TIMEFORMAT='%3R %3U %3S'
    rm -rf "$folder"
    cp -r "$scratch/meta" "$folder"
    { time run --out "$folder" "${units[@]}" "$@"; } 2>"$scratch/time" || {
        cat "$scratch/time" >&2
        exit 1
    }
    awk '{ printf "%.2f %.2f", $1, $2 + $3 }' "$scratch/time"
    # The same bits, or it would be no comparison.
    cat "$folder"/units/module.*/weights.safetensors | sha256sum >>"$scratch/digests"
}

run --out "$scratch/meta" --unit meta "$@"
count="$("$incubate" plan digits --device cpu --json "$@" | grep -o '"unit":"module\.[0-9]*"' | sort -u | wc -l)"
units=()
for ((module = 0; module < count; module++)); do
    units+=(--unit "module.$module")
done

printf '%d modules, %s at a time, %s cores, load %s\n' \
    "$count" "$jobs" "$(nproc)" "$(cut -d' ' -f1-3 /proc/loadavg)"
for ((round = 0; round < rounds; round++)); do
    # Whichever comes first finds another machine than the second; so they take turns.
    if ((round % 2)); then
        shared="$(modules --jobs "$jobs" "$@")"
        alone="$(modules "$@")"
    else
        alone="$(modules "$@")"
        shared="$(modules --jobs "$jobs" "$@")"
    fi
    printf '%s %s %s\n' "$alone" "$shared" "$(cut -d' ' -f1 /proc/loadavg)" | tee -a "$scratch/times" | awk '{
        printf "%8.2f s alone on %.2f cores, %8.2f s shared out, ratio %.3f (load %s)\n", $1, $2 / $1, $3, $3 / $1, $5
    }'
done
if (($(sort -u "$scratch/digests" | wc -l) != 1)); then
    echo "the weights differ" >&2
    exit 1
fi
awk '{ print $3 / $1, $1, $3 }' "$scratch/times" | sort -n | awk '
    {
        ratio[NR] = $1
        if (NR == 1 || $2 < alone) alone = $2
        if (NR == 1 || $3 < shared) shared = $3
    }
    END {
        median = NR % 2 ? ratio[(NR + 1) / 2] : (ratio[NR / 2] + ratio[NR / 2 + 1]) / 2
        printf "ratio: median %.3f, from %.3f to %.3f, in %d rounds\n", median, ratio[1], ratio[NR], NR
        printf "ratio of the shortest times, %.2f s and %.2f s: %.3f\n", alone, shared, shared / alone
    }'
