#!/usr/bin/env bash
# Writes what independent implementations say into target/oracle/, for `tests/tests/oracle.rs` to compare with: decoded and
# encoded values of every format that they know, and products with the weights of a whole model if they were fetched.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=target/oracle-venv
pins=(gguf==0.19.0 ml_dtypes==0.6.0 numpy==2.4.6 gfloat==0.5.2 onnx==1.23.2 onnxruntime==1.31.1)
# Of these only a library in C is used, not the Python around it and what that needs.
libraries=(bitsandbytes==0.50.2 libggml-python==0.20.2.post1)
stamp="$venv/pins.txt"

if [ ! -f "$stamp" ] || [ "$(cat "$stamp")" != "${pins[*]} ${libraries[*]}" ]; then
    python3 -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "${pins[@]}"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps "${libraries[@]}"
    echo "${pins[*]} ${libraries[*]}" >"$stamp"
fi

"$venv/bin/python" scripts/oracle.py --formats
if [ -f weights/SmolLM2-135M-Instruct.Q4_1.gguf ]; then
    "$venv/bin/python" scripts/oracle.py
else
    echo "no weights: run scripts/fetch-weights.sh for the products with a whole model"
fi
