// The best instruction set, among those with a library, that this processor and its operating system support. Also used
// by CMake (instruction_sets.cmake).
#pragma once

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace lg {

#if defined(__x86_64__)
// Queries the processor directly: __builtin_cpu_supports() needs a runtime library that clang-cl does not link.
inline const char* best_isa() {
  unsigned a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE)) return "portable";
  const bool fma = (c & bit_FMA) != 0;
  unsigned saved, high;  // registers that the operating system saves
  __asm__("xgetbv" : "=a"(saved), "=d"(high) : "c"(0));
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return "portable";
  constexpr unsigned avx2 = bit_AVX2 | bit_BMI | bit_BMI2;
  constexpr unsigned avx512 = bit_AVX512F | bit_AVX512DQ | bit_AVX512CD | bit_AVX512BW | bit_AVX512VL;
  if (!fma || (saved & 0x6) != 0x6 || (b & avx2) != avx2) return "portable";
  return (saved & 0xe6) == 0xe6 && (b & avx512) == avx512 ? "avx512" : "avx2";
}
#else
inline const char* best_isa() { return "portable"; }
#endif

}  // namespace lg
