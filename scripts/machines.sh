#!/usr/bin/env bash
# Installs what runs code for machines that this one is not: emulators of x86-64 and aarch64, and compilers to link for them.
# Does nothing if all of it is there.
set -euo pipefail

native=$(uname -m)
case "$native" in
x86_64) other=aarch64 packages=(gcc libc6-dev gcc-aarch64-linux-gnu libc6-dev-arm64-cross) ;;
aarch64) other=x86_64 packages=(gcc libc6-dev gcc-x86-64-linux-gnu libc6-dev-amd64-cross) ;;
*) echo "no emulators are known for $native" >&2 && exit 1 ;;
esac

# Emulators, compilers, and the static libraries of both machines.
complete() {
    local tool compiler library
    for tool in qemu-x86_64 qemu-aarch64 gcc "$other-linux-gnu-gcc"; do
        command -v "$tool" >/dev/null || return 1
    done
    for compiler in gcc "$other-linux-gnu-gcc"; do
        library=$("$compiler" -print-file-name=libc.a)
        [ -f "$library" ] || return 1
    done
}

if complete; then
    exit 0
fi
root=()
if [ "$(id -u)" -ne 0 ]; then
    root=(sudo)
fi
"${root[@]}" apt-get update --quiet
"${root[@]}" apt-get install --quiet --yes --no-install-recommends qemu-user "${packages[@]}"
complete || { echo "something is still missing" >&2 && exit 1; }
