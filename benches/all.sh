#!/usr/bin/env bash
# Measures every figure of README's section "Performance" on this machine, one part after the other, into
# benches/results. Half an hour on two cores, on which nothing else should run.
#
#   bash benches/all.sh PYTHON                     # everything
#   bash benches/all.sh PYTHON boundary jobs       # some parts: training loading boundary startup hybrids jobs
#   INCUBATE_THREADS=8 bash benches/all.sh PYTHON  # training and loading with eight threads on either side
#
# PYTHON has torch, torchvision, timm, numpy, and Pillow: python3 -m venv ~/bench &&
# ~/bench/bin/pip install torch torchvision timm, then ~/bench/bin/python. Only `loading` asks all of them; `training`
# asks torch, of which Debian's package python3-torch is enough, and the other parts none.
set -euo pipefail
cd "$(dirname "$0")/.."

python=${1:-python3}
shift || true
threads=${INCUBATE_THREADS:-2}
results=benches/results
parts=("$@")
if ((${#parts[@]} == 0)); then
    parts=(training loading boundary startup hybrids jobs)
fi
program=${CARGO_TARGET_DIR:-target}/release/incubate

# Where and of what the figures are.
machine() {
    local changed=
    # What was measured before in the same run is no other program.
    git diff --quiet HEAD -- . ':!benches/results' || changed=-dirty
    printf 'Made by `bash benches/all.sh PYTHON %s` on %s, %s cores, load %s; commit %s.\n\n' "$1" \
        "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)" "$(nproc)" \
        "$(cut -d' ' -f1 /proc/loadavg)" "$(git rev-parse --short=12 HEAD)$changed"
}

compared() {
    local packages=torch
    [[ $1 == training ]] || packages='torch, torchvision, timm, numpy, PIL'
    if ! "$python" -c "import $packages"; then
        echo "$python lacks a package that $1 needs; see the first lines of $0" >&2
        exit 1
    fi
    cargo bench --locked --bench pytorch -- "$1" --python "$python" --threads "$threads" --into "$results"
}

boundary() {
    printf '# Plugins beside the same code outside of the sandbox\n\n'
    machine boundary
    cargo bench --locked --bench boundary
}

startup() {
    printf '# Start-up\n\n'
    machine startup
    bash benches/startup.sh "$program"
}

jobs_side_by_side() {
    local small=(--set model.width=32 --set model.heads=2)
    printf '# Units in processes side by side\n\n'
    machine jobs
    printf 'Four modules of the digits, width 32, by one process and by two at a time, in turns:\n\n```text\n'
    bash benches/jobs.sh 3 "${small[@]}"
    printf '```\n\nWith batches of 8, of which a core has enough:\n\n```text\n'
    bash benches/jobs.sh 3 "${small[@]}" --set training.batch=8 --set module.epochs=2
    printf '```\n'
}

# A part that fails leaves what was measured before.
keep() {
    local new
    new=$(mktemp)
    "$2" >"$new"
    mv "$new" "$results/$1.md"
    chmod 644 "$results/$1.md"
}

cargo build --release --locked
for part in "${parts[@]}"; do
    echo "$part …" >&2
    case $part in
        training | loading) compared "$part" ;;
        boundary | startup) keep "$part" "$part" ;;
        hybrids) cargo bench --locked --bench hybrids -- --write ;;
        jobs) keep jobs jobs_side_by_side ;;
        *)
            echo "no part is called $part; see the first lines of $0" >&2
            exit 2
            ;;
    esac
done
