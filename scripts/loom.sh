#!/usr/bin/env bash
# Runs the team of threads (runtime/src/threads/) under every interleaving, by loom: a minute or two once it is compiled. In a
# folder of its own, since every crate is compiled with another flag.
set -euo pipefail
cd "$(dirname "$0")/.."
export RUSTFLAGS="${RUSTFLAGS:-} --cfg loom" CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/loom"
cargo test --locked --profile loom --package lowbit --lib threads::
