#!/usr/bin/env bash
# Installs the peers that can be had from package registries, pinned, each in a place of its own under target/peers/. The
# benchmark uses those that are there. Python 3.11, npm and cargo are needed.
set -euo pipefail
cd "$(dirname "$0")/../.."

# A virtual environment with some packages, made anew if the pins change.
environment() {
    local venv="target/peers/$1"
    shift
    if [ -f "$venv/pins.txt" ] && [ "$(cat "$venv/pins.txt")" = "$*" ]; then
        return
    fi
    python3 -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$@"
    echo "$*" >"$venv/pins.txt"
}

# The files of a package of npm, in the folder `package` beside a virtual environment, if its SHA-256 is the one given.
npm_package() {
    local place="target/peers/$1" package="$2" digest="$3" archive
    if [ -f "$place/package/digest.txt" ] && [ "$(cat "$place/package/digest.txt")" = "$digest" ]; then
        return
    fi
    archive="$place/$(npm pack --silent --pack-destination "$place" "$package")"
    echo "$digest  $archive" | sha256sum --check --quiet
    rm -rf "$place/package"
    tar -xzf "$archive" -C "$place" package
    rm "$archive"
    echo "$digest" >"$place/package/digest.txt"
}

environment onnxruntime numpy==2.4.6 onnx==1.23.2 onnxruntime==1.31.1
environment openvino numpy==2.4.6 openvino==2026.4.1
environment llamacpp numpy==2.4.6
npm_package llamacpp @node-llama-cpp/linux-x64@3.22.1 \
    0d953e1503d5ab4608d8ed5b739132308c81ac05ffeb760d2a7f30e08a9f90e0

# candle chooses its instructions when it is compiled.
RUSTFLAGS="-C target-cpu=native" cargo build --quiet --release --locked \
    --manifest-path benches/peers/candle/Cargo.toml --target-dir target/peers/candle/build
cp target/peers/candle/build/release/candle-peer target/peers/candle/peer
