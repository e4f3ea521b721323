#!/usr/bin/env bash
# The compiled core under AddressSanitizer and UndefinedBehaviorSanitizer: builds it instrumented, and runs
# native/tests/stress.py on it; and the CUDA kernels, emulated, with their tests. Fails on the first report.
#
#   sanitize.sh                 both, in a folder of its own
#   sanitize.sh build FOLDER    builds it there; needs GCC and CMake (fetched from PyPI by $PYTHON where there is none)
#   sanitize.sh run FOLDER      runs it; needs a Python with torch and pytest in PATH (or $PYTHON)
#
# $ISA: the instruction set of the core, avx2 by default, or portable where the machine has no AVX2. What portable code
# reads and writes is what that of AVX2 does, in registers half as wide.
set -euo pipefail
checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=${PYTHON:-python}
compiler=${CXX:-g++}
isa=${ISA:-avx2}
if ! grep -qw "$isa" /proc/cpuinfo; then isa=portable; fi

build() {
  local folder=$1 libraries=("lumigrad_$isa" lumigrad_cuda_emulated)
  if [ "$isa" != portable ]; then libraries+=(lumigrad_probe); fi
  mkdir -p "$folder/native"
  if ! command -v cmake >/dev/null; then
    "$python" -m pip install -q --target "$folder/tools" cmake
    cmake() { PYTHONPATH="$folder/tools" "$folder/tools/bin/cmake" "$@"; }
  fi
  cmake -S "$checkout" -B "$folder/build" -DCMAKE_CXX_COMPILER="$compiler" -DLUMIGRAD_SANITIZE=ON -DLUMIGRAD_ISAS="$isa" \
    -DLUMIGRAD_CUDA=OFF -DLUMIGRAD_CUDA_EMULATION=ON >"$folder/log" 2>&1 &&
    cmake --build "$folder/build" --parallel 2 --target "${libraries[@]}" >>"$folder/log" 2>&1 ||
    { cat "$folder/log" && return 1; }
  find "$folder/build" -name 'liblumigrad_*.so' -exec cp {} "$folder/native/" \;
  cp "$checkout/native/include/lumigrad.h" "$folder/native/"
  echo "built ${libraries[*]} in $SECONDS s"
}

# instrumented FOLDER THREADS CHECK_DEAD_FRAMES ARGUMENT...: Python on the instrumented libraries.
instrumented() {
  local folder=$1
  # The runtimes have to be there before Python is; the C++ one with them, or exceptions would go unseen. Leaks are
  # Python's and torch's business; freed memory goes back at once, so that its use would show.
  env LD_PRELOAD="$("$compiler" -print-file-name=libasan.so) $("$compiler" -print-file-name=libstdc++.so.6)" \
    ASAN_OPTIONS="detect_leaks=0:detect_stack_use_after_return=$3:allocator_may_return_null=1" \
    UBSAN_OPTIONS=print_stacktrace=1 PYTHONFAULTHANDLER=1 PYTHONPATH="$checkout/src" PYTHONDONTWRITEBYTECODE=1 \
    LUMIGRAD_NATIVE_DIR="$folder/native" LUMIGRAD_ISA="$isa" LUMIGRAD_THREADS="$2" LUMIGRAD_CACHE_MB=0 \
    LUMIGRAD_CUDA_EMULATED="$folder/native/liblumigrad_cuda_emulated.so" \
    "$python" "${@:4}"
}

run() {
  local folder=$1 other
  # Two at a time, each with half of the rounds: one with torch's threads, one with our own. Then the CUDA kernels: what
  # they read and write. Fibers are not what the check of dead stack frames expects.
  instrumented "$folder" torch 1 "$checkout/native/tests/stress.py" 0/2 >"$folder/other.log" 2>&1 &
  other=$!
  instrumented "$folder" own 1 "$checkout/native/tests/stress.py" 1/2
  wait "$other" || { cat "$folder/other.log" && return 1; }
  tail -n 1 "$folder/other.log"
  instrumented "$folder" torch 0 -m pytest "$checkout"/tests/cuda/test_emulated{,_surfaces}.py -n 2
  echo "no report after $SECONDS s"
}

case ${1:-} in
  build | run) "$1" "$2" ;;
  "")
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    build "$work"
    run "$work"
    ;;
  *) sed -n '2,/^set/{/^#/p}' "${BASH_SOURCE[0]}" && exit 2 ;;
esac
