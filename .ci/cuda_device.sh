#!/usr/bin/env bash
# Everything that needs a CUDA device: the tests on it, once more under compute-sanitizer, and the benchmark.
#
#   bash .ci/cuda_device.sh             # all of it
#   bash .ci/cuda_device.sh tests       # or some of: tests sanitizer benchmark
#
# Needs a Python with a CUDA build of torch in PATH (or $PYTHON), and lumigrad installed into it where nvcc is found
# (pip install '.[test]'). `lumigrad doctor` says whether its CUDA library is in use.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=${PYTHON:-python}
parts=("$@")
if [ ${#parts[@]} = 0 ]; then parts=(tests sanitizer benchmark); fi

"$python" -c 'from lumigrad.ops import installation as i; print(i.cuda_status()); raise SystemExit(not i.cuda_available())'

failed=()
# Runs a step; goes on with the next one if it fails.
step() { "$@" || failed+=("$*"); }

for part in "${parts[@]}"; do
  printf '\n=== %s (%d s)\n' "$part" "$SECONDS"
  case $part in
    tests)
      step "$python" -m pytest tests/cuda -n 0
      step "$python" -m pytest tests/ops tests/compat --kernels cuda -n 2
      ;;
    sanitizer)
      if ! command -v compute-sanitizer >/dev/null; then
        echo "skipped: there is no compute-sanitizer"
        continue
      fi
      # Reads and writes out of bounds, reads of memory that nobody has written, races in shared memory, barriers that some
      # threads pass by. Small scenes: it is slow.
      for tool in memcheck initcheck racecheck synccheck; do
        step env PYTORCH_NO_CUDA_MEMORY_CACHING=1 compute-sanitizer --tool "$tool" --error-exitcode 1 --print-limit 20 \
          "$python" -m pytest tests/cuda/test_device.py -n 0 \
          -k "as_on_the_cpu or deterministic or two_streams or (coverage and size1)"
      done
      ;;
    benchmark) step "$python" -m benchmarks.gpu ;;
    *) echo "unknown part: $part (expected tests, sanitizer or benchmark)" && exit 2 ;;
  esac
done
for command in "${failed[@]}"; do echo "failed: $command"; done
exit $((${#failed[@]} > 0))
