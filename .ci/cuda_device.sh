#!/usr/bin/env bash
# Everything that needs a CUDA device, in stages that a device lent for a quarter of an hour has time for.
#
#   bash .ci/cuda_device.sh                     # all of them
#   bash .ci/cuda_device.sh compare tests       # or some of: compare tests benchmark kernels sanitizer
#
#   compare     every op on the device against the CPU, forward and backward, on the cases of tests/ops/cases.py
#   tests       tests/cuda, and the tests of the ops and of the compatibility layers with CUDA's kernels
#   benchmark   benchmarks.gpu, beside nvdiffrast, DRTK and gsplat where they can be imported
#   kernels     benchmarks.gpu_kernels: which kernels the time goes to, and what the host spends
#   sanitizer   compute-sanitizer's memcheck, racecheck, initcheck and synccheck on small cases
#
# Each stage has a limit ($SECONDS_EACH, 170 seconds), writes its log and its numbers into $OUT (out/cuda), and stops no
# other. Needs a Python with a CUDA build of torch in PATH (or $PYTHON) that finds lumigrad: installed where nvcc is
# (pip install '.[test]'), or by PYTHONPATH=src and LUMIGRAD_NATIVE_DIR. `lumigrad doctor` says whether its CUDA library
# is in use. KERNELS=emulated runs what the emulation can, without a device (tests/cuda_kernels.py).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=${PYTHON:-python}
kernels=${KERNELS:-cuda}
limit=${SECONDS_EACH:-170}
workers=${WORKERS:-$(nproc)}
out=${OUT:-out/cuda}
mkdir -p "$out"
stages=("$@")
if [ ${#stages[@]} = 0 ]; then stages=(compare tests benchmark kernels sanitizer); fi

if [ "$kernels" = cuda ]; then
  "$python" -c 'from lumigrad.ops import installation as i; print(i.cuda_status()); raise SystemExit(not i.cuda_available())'
fi

failed=()
# Runs a step within the stage's limit, with a log; goes on with the next one if it fails.
step() {
  local name=$1 start=$SECONDS
  shift
  if ! timeout -k 5 "$limit" "$@" >"$out/$name.log" 2>&1; then failed+=("$name"); fi
  tail -n "${LINES_EACH:-40}" "$out/$name.log"
  printf -- '--- %s: %d s\n' "$name" $((SECONDS - start))
}

# With pytest-timeout a kernel that hangs takes its worker with it and nothing else; with pytest-instafail the log has the
# failures even where time runs out.
plugins=()
if "$python" -c 'import pytest_timeout' 2>/dev/null; then plugins+=(--timeout 60 --timeout-method thread); fi
if "$python" -c 'import pytest_instafail' 2>/dev/null; then plugins+=(--instafail); fi

for stage in "${stages[@]}"; do
  printf '\n=== %s (%d s)\n' "$stage" "$SECONDS"
  case $stage in
    compare)
      step compare "$python" tests/cuda/compare_ops.py --kernels "$kernels" --json "$out/compare.json" \
        --processes "$((workers < 8 ? workers : 8))" --seconds $((limit - 5))
      ;;
    tests)
      step tests "$python" -m pytest ${TESTS:-tests/cuda tests/ops tests/compat} --kernels "$kernels" -n "$workers" \
        -p no:cacheprovider --dist worksteal --tb short "${plugins[@]}"
      ;;
    benchmark)
      if [ "$kernels" = cuda ]; then where=(); else where=(--device cpu --quick); fi
      step benchmark "$python" -m benchmarks.gpu --json "$out/benchmark.json" ${QUICK:+--quick} "${where[@]}"
      ;;
    kernels)
      if [ "$kernels" = cuda ]; then step kernels "$python" -m benchmarks.gpu_kernels --json "$out/kernels.json"; fi
      ;;
    sanitizer)
      if ! command -v compute-sanitizer >/dev/null; then
        echo "skipped: there is no compute-sanitizer"
        continue
      fi
      # Reads and writes out of bounds, races in shared memory, reads of memory that nobody has written, barriers that
      # some threads pass by. Small cases, the tools side by side: they are slow.
      for tool in memcheck racecheck initcheck synccheck; do
        PYTORCH_NO_CUDA_MEMORY_CACHING=1 timeout -k 5 "$limit" compute-sanitizer --tool "$tool" --error-exitcode 9 \
          --print-limit 20 "$python" tests/cuda/compare_ops.py --small --processes 1 --part 0 \
          >"$out/$tool.log" 2>&1 &
      done
      wait
      for tool in memcheck racecheck initcheck synccheck; do
        echo "$tool: $(grep -c '"problem"' "$out/$tool.log") cases, $(tail -n 1 "$out/$tool.log")"
        grep -q 'SUMMARY: 0 ' "$out/$tool.log" || failed+=("$tool")
      done
      ;;
    *) echo "unknown stage: $stage (expected compare, tests, benchmark, kernels or sanitizer)" && exit 2 ;;
  esac
done
for name in "${failed[@]}"; do echo "failed: $name, see $out/$name.log"; done
exit $((${#failed[@]} > 0))
