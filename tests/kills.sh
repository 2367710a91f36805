#!/bin/sh
# Kills the command 200 times, or as often as the first argument says, at random moments of every phase
# and while checkpoints are written, and compares every weight with those of an undisturbed run.
set -eu
cd "$(dirname "$0")/.."
INCUBATE_KILLS="${1:-200}" exec cargo test --release --test integration kills:: -- --nocapture
