#!/usr/bin/env bash
# Measures every figure of README's section "Performance" on this machine, one part after the other, and
# writes benches/results/performance.md (the raw values lie beside it as JSON). Half an hour on two cores, on
# which nothing else should run.
#
#   bash benches/all.sh [PYTHON] [THREADS]
#
# PYTHON has torch, torchvision, timm, numpy, and Pillow: python3 -m venv ~/bench &&
# ~/bench/bin/pip install torch torchvision timm, then ~/bench/bin/python.
set -euo pipefail
cd "$(dirname "$0")/.."

python=${1:-python3}
threads=${2:-2}
results=benches/results

if ! "$python" -c 'import torch, torchvision, timm, numpy, PIL'; then
    echo "$python lacks a package; see the first lines of $0" >&2
    exit 1
fi
cargo build --release --locked
parts=$(mktemp -d)
trap 'rm -rf "$parts"' EXIT

part() {
    echo "$1 …" >&2
    shift
    "$@"
}

program=$(cargo metadata --no-deps --format-version 1 | "$python" -c \
    'import json, sys; print(json.load(sys.stdin)["target_directory"])')/release/incubate

part training cargo bench --locked --bench pytorch -- training \
    --python "$python" --threads "$threads" --into "$results" >"$parts/1"
part loading cargo bench --locked --bench pytorch -- loading \
    --python "$python" --threads "$threads" --into "$results" >"$parts/2"
{
    printf '# The boundary to plugins\n\n'
    part boundary cargo bench --locked --bench boundary
} >"$parts/3"
{
    printf '# Start-up\n\n'
    part start-up bash benches/startup.sh "$program"
} >"$parts/4"
part hybrids cargo bench --locked --bench hybrids -- --write >"$parts/5"
{
    printf '# Processes side by side\n\nThe modules of the digits at width 32, `--jobs 2` beside one process:\n\n'
    part jobs bash benches/jobs.sh 3 --set model.width=32 --set model.heads=2
    printf '\nWith batches of 8, which are too small for more than a core:\n\n'
    part 'jobs, small batches' bash benches/jobs.sh 3 --set model.width=32 --set model.heads=2 \
        --set training.batch=8 --set module.epochs=2
} >"$parts/6"

{
    printf 'Written by `bash benches/all.sh`.\n\n'
    for file in "$parts"/*; do
        cat "$file"
        echo
    done
} >"$results/performance.md"
echo "wrote $results/performance.md" >&2
