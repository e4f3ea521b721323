#!/usr/bin/env bash
# The compiled core under AddressSanitizer and UndefinedBehaviorSanitizer: builds it instrumented, in a folder
# of its own, and runs native/tests/stress.py on it; and the CUDA kernels, emulated, with their tests. Fails on the
# first report.
#
# Needs a Python with torch and pytest in PATH (or $PYTHON), GCC and CMake (fetched from PyPI where there is none).
# $ISAS: the instruction sets to build besides the portable one, "avx2" by default, where the machine has them; the
# last of them is gone through.
set -euo pipefail
checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=${PYTHON:-python}
compiler=${CXX:-g++}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if ! command -v cmake >/dev/null; then
  "$python" -m pip install -q --target "$work/tools" cmake
  cmake() { PYTHONPATH="$work/tools" "$work/tools/bin/cmake" "$@"; }
fi

targets=(portable)
for isa in ${ISAS-avx2}; do
  if grep -qwE "$isa|${isa}f" /proc/cpuinfo; then targets+=("$isa"); fi
done

cmake -S "$checkout" -B "$work/build" -DCMAKE_CXX_COMPILER="$compiler" -DLUMIGRAD_SANITIZE=ON -DLUMIGRAD_ISAS=ALL \
  -DLUMIGRAD_CUDA=OFF -DLUMIGRAD_CUDA_EMULATION=ON >"$work/log" 2>&1 &&
  cmake --build "$work/build" --parallel 2 --target "${targets[@]/#/lumigrad_}" lumigrad_cuda_emulated >>"$work/log" 2>&1 ||
  { cat "$work/log" && exit 1; }
echo "built ${targets[*]} in $SECONDS s"

mkdir "$work/native"
find "$work/build" -name 'liblumigrad_*.so' -exec cp {} "$work/native/" \;
cp "$checkout/native/include/lumigrad.h" "$work/native/"

# The runtimes have to be there before Python is; the C++ one with them, or exceptions would go unseen.
preload="$("$compiler" -print-file-name=libasan.so) $("$compiler" -print-file-name=libstdc++.so.6)"

# instrumented ISA THREADS CHECK_DEAD_FRAMES ARGUMENT...: Python on the instrumented libraries.
instrumented() {
  # Leaks are Python's and torch's business; freed memory goes back at once, so that its use would show.
  env LD_PRELOAD="$preload" \
    ASAN_OPTIONS="detect_leaks=0:detect_stack_use_after_return=$3:allocator_may_return_null=1" \
    UBSAN_OPTIONS=print_stacktrace=1 PYTHONFAULTHANDLER=1 PYTHONPATH="$checkout/src" \
    LUMIGRAD_NATIVE_DIR="$work/native" LUMIGRAD_ISA="$1" LUMIGRAD_THREADS="$2" LUMIGRAD_CACHE_MB=0 \
    LUMIGRAD_CUDA_EMULATED="$work/native/liblumigrad_cuda_emulated.so" \
    "$python" "${@:4}"
}

# Two at a time: with torch's threads portably, with our own on the best instruction set of $ISAS. Then the CUDA
# kernels, emulated: what they read and write. Fibers are not what the check of dead stack frames expects.
instrumented portable torch 1 "$checkout/native/tests/stress.py" >"$work/portable.log" 2>&1 &
portable=$!
instrumented "${targets[-1]}" own 1 "$checkout/native/tests/stress.py"
wait "$portable" || { cat "$work/portable.log" && exit 1; }
tail -n 1 "$work/portable.log"
instrumented portable torch 0 -m pytest "$checkout"/tests/cuda/test_emulated{,_surfaces}.py -n 2
echo "no report after $SECONDS s"
