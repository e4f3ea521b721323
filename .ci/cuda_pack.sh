#!/usr/bin/env bash
# What a machine with a GPU, but without a network and without lumigrad, needs for .ci/cuda_device.sh, as one archive.
#
#   bash .ci/cuda_pack.sh pack.tar.xz              # here: an nvcc, but no GPU, is needed
#   tar -xJf pack.tar.xz -C /tmp/pack              # there, in a copy of the checkout, and then
#   python3 -m pip install --no-index --no-deps --target /tmp/site /tmp/pack/wheels/*.whl
#   ln -sfn /tmp/pack/shared ../shared
#   PYTHONPATH=/tmp/site:$PWD/src:$PWD LUMIGRAD_NATIVE_DIR=/tmp/pack/native PYTHON=python3 bash .ci/cuda_device.sh
#
# ARCHITECTURES (90-real) says for which GPU, PYTHON_THERE (3.12) for which Python the wheels are, WHEELS which of them
# the machine lacks. Of the folder ../shared, where there is one, it takes meshes, points and reference numbers.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
archive=$(realpath -m "${1:?which file is to be written}")
pack=$(mktemp -d)
trap 'rm -rf "$pack"' EXIT
mkdir "$pack/native"

# From nothing: objects that are older than their sources look new where a checkout changed while they were compiled.
cmake -S . -B "$pack/build" -G Ninja -DLUMIGRAD_ISAS=ALL -DLUMIGRAD_CUDA=ON \
  -DLUMIGRAD_CUDA_ARCHITECTURES="${ARCHITECTURES:-90-real}" >"$pack/cmake.log" || { cat "$pack/cmake.log" && exit 1; }
cmake --build "$pack/build"
cp "$pack"/build/liblumigrad_*.so native/include/lumigrad.h "$pack/native/"
strip -s "$pack"/native/*.so
# All symbols, at once: a library that lacks one would be of no use there.
python3 - "$pack"/native/*.so <<'PROGRAM'
import ctypes, os, sys

for path in sys.argv[1:]:
    print(path, "loads, ABI", ctypes.CDLL(path, mode=os.RTLD_NOW).lg_abi_version())
PROGRAM

read -ra wheels <<<"${WHEELS:-trimesh beartype mapbox_earcut xatlas pytest-instafail}"
python3 -m pip download -q --no-deps --only-binary=:all: --python-version "${PYTHON_THERE:-3.12}" \
  --platform manylinux_2_28_x86_64 --platform manylinux_2_27_x86_64 --platform manylinux2014_x86_64 \
  -d "$pack/wheels" "${wheels[@]}"

for part in data/meshes data/garden_points.npz oracles; do
  if [ -e "../shared/$part" ]; then
    mkdir -p "$pack/shared/$(dirname "$part")"
    cp -r --no-preserve=mode "../shared/$part" "$pack/shared/$part"
  fi
done
parts=()
for part in native wheels shared; do if [ -e "$pack/$part" ]; then parts+=("$part"); fi; done
tar -C "$pack" -cJf "$archive" "${parts[@]}"
ls -l "$archive"
