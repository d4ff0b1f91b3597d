#!/usr/bin/env bash
# Runs the team of threads (runtime/src/threads/) under every interleaving, by loom. In a folder of its own, since every crate
# is compiled with another flag. It takes a minute or two when it is compiled.
set -euo pipefail
cd "$(dirname "$0")/.."
export RUSTFLAGS="${RUSTFLAGS:-} --cfg loom" CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/loom"
cargo test --locked --package lowbit --lib --release threads::
