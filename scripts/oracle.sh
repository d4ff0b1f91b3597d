#!/usr/bin/env bash
# Writes what independent implementations say into target/oracle/, for `tests/tests/oracle.rs` to compare with: decoded
# values of every format that they know, errors of quantisers, and products with the weights of a whole model if they were fetched.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=target/oracle-venv
pins=(gguf==0.19.0 libggml-python==0.20.2.post1 ml_dtypes==0.6.0 numpy==2.4.6)
stamp="$venv/pins.txt"

if [ ! -f "$stamp" ] || [ "$(cat "$stamp")" != "${pins[*]}" ]; then
    python3 -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "${pins[@]}"
    echo "${pins[*]}" >"$stamp"
fi

"$venv/bin/python" scripts/oracle.py --formats
"$venv/bin/python" scripts/quantisers.py
if [ -f weights/SmolLM2-135M-Instruct.Q4_1.gguf ]; then
    "$venv/bin/python" scripts/oracle.py
else
    echo "no weights: run scripts/fetch-weights.sh for the products with a whole model"
fi
