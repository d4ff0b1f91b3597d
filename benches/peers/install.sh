#!/usr/bin/env bash
# Installs the peers that can be had from package registries, pinned, each in a place of its own under target/peers/. The
# benchmark uses those that are there.
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

environment onnxruntime numpy==2.4.6 onnx==1.23.2 onnxruntime==1.31.1
