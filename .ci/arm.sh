#!/usr/bin/env bash
# The core for 64-bit ARM, compiled here and tested in an emulator: `bash .ci/arm.sh [FOLDER] [OPTIONS AND TESTS OF PYTEST]`.
#
# For a Debian or Ubuntu on x86-64, as root the first time. FOLDER (by default build/arm) keeps what takes long to get: an
# ARM Python of the distribution's, torch, and the compiled library. Of the system it needs the packages below, which it
# installs by apt-get where they are missing. Emulated, everything is slow: to import torch takes ten seconds of processor
# time, and the default tests take long. Left out are the slowest, and those that start another Python, which would run
# outside of the emulator.
set -euo pipefail
export LC_ALL=C.UTF-8 PIP_DISABLE_PIP_VERSION_CHECK=1
unset PYTHONPATH PYTHONHOME LUMIGRAD_ISA LUMIGRAD_NATIVE_DIR LUMIGRAD_THREADS

checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
folder=$(mkdir -p "${1:-$checkout/build/arm}" && cd "${1:-$checkout/build/arm}" && pwd)
shift || true
root=$folder/root
torch=2.9.1
# All that torch and pytest need: pip would look for what they need on this machine's processor.
packages=("torch==$torch" numpy filelock fsspec jinja2 markupsafe mpmath networkx sympy typing_extensions
  hypothesis iniconfig packaging pluggy pygments pytest sortedcontainers)
# The ops of each family whose tests do little else.
tests=(ops/field/test_composite.py ops/ray/test_trace.py ops/surface/test_edge_topology.py ops/surface/test_interpolate.py
  ops/surface/test_rasterize.py ops/surface/test_antialias.py ops/soft/test_soft_blend.py ops/splat/test_spheres.py
  ops/splat/test_splat.py ops/texture/test_build_mips.py ops/texture/test_texture.py ops/implicit/test_marching_cubes.py
  ops/light/test_bsdf.py)
others="deep_tree or op_registration or environment or fork or (test_bsdf and test_gradients)"

install_tools() {
  local missing=()
  command -v aarch64-linux-gnu-g++ >/dev/null || missing+=(g++-aarch64-linux-gnu)
  command -v qemu-aarch64-static >/dev/null || missing+=(qemu-user-static)
  command -v cmake >/dev/null || missing+=(cmake)
  command -v ninja >/dev/null || missing+=(ninja-build)
  if [ ${#missing[@]} -gt 0 ]; then
    apt-get -q update
    apt-get -q install --yes --no-install-recommends "${missing[@]}"
  fi
}

# An ARM Python and the libraries that it needs, unpacked into a folder: nothing of it is installed.
get_python() {
  local state=$folder/apt
  local options=(-q -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o "Dir::State=$state" -o "Dir::Cache=$state"
    -o "Dir::State::status=$state/status" -o APT::Sandbox::User=root)
  mkdir -p "$state/lists/partial" "$state/archives/partial" "$root"
  touch "$state/status"
  apt-get "${options[@]}" update
  apt-get "${options[@]}" install --yes --download-only --no-install-recommends python3 libgomp1 libstdc++6
  for package in "$state"/archives/*.deb; do dpkg-deb --extract "$package" "$root"; done
  rm -rf "$state"
}

get_torch() {
  local release
  release=$(basename "$(ls "$root"/usr/bin/python3.[0-9]*)")
  python3 -m venv "$folder/pip"
  "$folder/pip/bin/pip" install -q --target "$folder/site" --no-deps --only-binary=:all: --implementation cp \
    --python-version "${release#python}" --platform manylinux_2_28_aarch64 --platform manylinux_2_17_aarch64 "${packages[@]}"
  rm -rf "$folder/pip"
}

build() {
  cmake -G Ninja -S "$checkout" -B "$folder/core" -DLUMIGRAD_CUDA=OFF -DLUMIGRAD_WARNINGS_AS_ERRORS=ON \
    -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 -DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++ >"$folder/cmake.log"
  cmake --build "$folder/core" --parallel "${JOBS:-2}"
  ln -sf "$checkout/native/include/lumigrad.h" "$folder/core/"
}

# No fused multiply-add: results must be those of every other machine.
check_instructions() {
  local fused
  fused=$(aarch64-linux-gnu-objdump -d --no-show-raw-insn "$folder/core/liblumigrad_portable.so" |
    grep -cP '\tfn?m(add|sub|la|ls)\s' || true)
  echo "fused instructions in the ARM library: $fused"
  [ "$fused" = 0 ]
}

# A few ops have the bits of the x86-64 library that LINUX_LIBRARY names, if it names one.
compare_bits() {
  local program=$checkout/native/tests/call_library.c
  aarch64-linux-gnu-gcc -O1 -I "$checkout/native/include" "$program" -o "$folder/call_library_arm" -ldl
  qemu-aarch64-static -L "$root" "$folder/call_library_arm" "$folder/core/liblumigrad_portable.so" >"$folder/arm.txt"
  if [ -z "${LINUX_LIBRARY:-}" ]; then return; fi
  cc -O1 -I "$checkout/native/include" "$program" -o "$folder/call_library" -ldl
  "$folder/call_library" "$LINUX_LIBRARY" | diff - "$folder/arm.txt" ||
    { echo "the ARM library differs (>) from $LINUX_LIBRARY (<)" && return 1; }
  echo "the bits of $LINUX_LIBRARY, $(grep -c '[0-9a-f]\{16\}$' "$folder/arm.txt") arrays compared"
}

# The ARM Python: no SVE, which is the slowest to emulate.
emulated() {
  local python
  python=$(ls "$root"/usr/bin/python3.[0-9]*)
  env LUMIGRAD_NATIVE_DIR="$folder/core" PYTHONHOME="$root/usr" PYTHONPATH="$checkout/src:$folder/site" \
    PYTHONDONTWRITEBYTECODE=1 OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" QEMU_CPU=cortex-a76 \
    qemu-aarch64-static -L "$root" "$python" "$@"
}

install_tools
[ -x "$root/usr/bin/python3" ] || get_python
[ -d "$folder/site/torch" ] || get_torch
build
check_instructions
compare_bits
cd "$checkout"
emulated -m lumigrad doctor --report
if [ $# = 0 ]; then set -- "${tests[@]/#/tests/}" -k "not ($others)"; fi
emulated -m pytest -p no:cacheprovider --durations=15 "$@"
