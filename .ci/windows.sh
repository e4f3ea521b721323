#!/usr/bin/env bash
# The core for Windows, compiled here: `bash .ci/windows.sh [FOLDER]` (by default build/windows).
#
# Clang with the headers of MinGW in place of Visual Studio's, for a Debian or Ubuntu on x86-64. Checks that the DLL exports
# what the header declares and needs nothing but Windows itself. Where there is Wine, a program calls a few ops
# (native/tests/call_library.c), and what they compute must have the same bits as on Linux. Packages that are missing are
# installed by apt-get, which needs root; Wine is not, but used where it is found. LUMIGRAD_ISAS is by default portable.
set -euo pipefail
export LC_ALL=C.UTF-8

checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
folder=$(mkdir -p "${1:-$checkout/build/windows}" && cd "${1:-$checkout/build/windows}" && pwd)
isas=${LUMIGRAD_ISAS:-portable}

install_tools() {
  local missing=()
  command -v clang++ >/dev/null || missing+=(clang)
  command -v lld-link >/dev/null || missing+=(lld)
  command -v llvm-readobj >/dev/null || missing+=(llvm)
  command -v x86_64-w64-mingw32-g++-posix >/dev/null || missing+=(g++-mingw-w64-x86-64-posix)
  command -v cmake >/dev/null || missing+=(cmake)
  command -v ninja >/dev/null || missing+=(ninja-build)
  if [ ${#missing[@]} -gt 0 ]; then
    apt-get -q update
    apt-get -q install --yes --no-install-recommends "${missing[@]}"
  fi
}

build() {
  local library
  library=$(dirname "$(x86_64-w64-mingw32-g++-posix -print-file-name=libstdc++.a)")
  cmake -G Ninja -S "$checkout" -B "$folder" -DLUMIGRAD_ISAS="$isas" -DLUMIGRAD_CUDA=OFF \
    -DLUMIGRAD_WARNINGS_AS_ERRORS=ON -DCMAKE_SYSTEM_NAME=Windows -DCMAKE_SYSTEM_PROCESSOR=AMD64 \
    -DCMAKE_CXX_COMPILER=clang++ -DCMAKE_CXX_COMPILER_TARGET=x86_64-w64-mingw32 \
    -DCMAKE_CXX_FLAGS="--start-no-unused-arguments -nostdinc++ --end-no-unused-arguments -isystem $library/include/c++ -isystem $library/include/c++/x86_64-w64-mingw32" \
    -DCMAKE_EXE_LINKER_FLAGS="-L$library -fuse-ld=lld -static" \
    -DCMAKE_SHARED_LINKER_FLAGS="-L$library -fuse-ld=lld -static" -DCMAKE_CXX_STANDARD_LIBRARIES=-lwinpthread \
    >"$folder/cmake.log"
  cmake --build "$folder" --parallel "${JOBS:-2}"
}

# A DLL's exports are the header's functions, and it imports from what every Windows has.
check_symbols() {
  local declared exported foreign
  declared=$(grep -oP '^LG_API(_CPU)? .*?\Klg_\w+(?=\()' "$checkout/native/include/lumigrad.h" | sort)
  exported=$(llvm-readobj --coff-exports "$1" | sed -n 's/^  Name: \(..*\)$/\1/p' | sort)
  foreign=$(llvm-readobj --coff-imports "$1" | sed -n 's/^  Name: //p' | grep -viE '^(kernel32|msvcrt)\.dll$' || true)
  diff <(echo "$declared") <(echo "$exported") || { echo "$1 exports (>) not what the header declares (<)" && return 1; }
  [ -z "$foreign" ] || { echo "$1 needs $foreign" && return 1; }
  echo "$(basename "$1"): $(wc -l <<<"$exported") functions, $(du -h "$1" | cut -f1)"
}

# The Linux library that the bits are compared with: compiled here, unless LINUX_LIBRARY names one.
linux_library() {
  if [ -n "${LINUX_LIBRARY:-}" ]; then echo "$LINUX_LIBRARY" && return; fi
  cmake -G Ninja -S "$checkout" -B "$folder/linux" -DLUMIGRAD_ISAS=portable -DLUMIGRAD_CUDA=OFF >"$folder/cmake.log"
  cmake --build "$folder/linux" --parallel "${JOBS:-2}" >&2
  echo "$folder/linux/liblumigrad_portable.so"
}

# With what Wine itself says switched off.
compare_bits() {
  local program=native/tests/call_library.c
  cd "$checkout"
  cc -O1 -I native/include "$program" -o "$folder/call_library" -ldl
  x86_64-w64-mingw32-gcc-posix -O1 -I native/include "$program" -o "$folder/call_library.exe"
  "$folder/call_library" "$(linux_library)" >"$folder/linux.txt"
  cd "$folder"
  for library in lumigrad_*.dll; do
    WINEPREFIX="$folder/wine" WINEDEBUG=-all wine call_library.exe "$library" 2>"$folder/wine.log" | tr -d '\r' \
      >"$folder/windows.txt"
    diff linux.txt windows.txt || { echo "$library differs (>) from Linux (<)" && return 1; }
    echo "$library: the bits of Linux, $(grep -c '[0-9a-f]\{16\}$' windows.txt) arrays compared"
  done
}

install_tools
build
for library in "$folder"/lumigrad_*.dll; do check_symbols "$library"; done
if command -v wine >/dev/null; then compare_bits; else echo "there is no Wine: nothing was run"; fi
