#!/usr/bin/env bash
# Installs the solver that proves rules of integers (Debian's z3), if it is not there.
set -euo pipefail
if command -v z3 >/dev/null; then
    z3 --version
    exit
fi
as_root=()
if [ "$(id -u)" != 0 ]; then as_root=(sudo); fi
"${as_root[@]}" apt-get update --quiet
"${as_root[@]}" apt-get install --yes --no-install-recommends z3
z3 --version
