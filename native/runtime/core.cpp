// The library's own facts: version, instruction set, last error.
#include <cstdio>

#include "lumigrad.h"
#include "runtime/status.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace lg {
namespace {

thread_local char last_error[256] = "";

#if defined(__x86_64__)
// Asked of the processor itself: __builtin_cpu_supports() needs a runtime library that clang-cl does not link.
const char* best_isa() {
  unsigned a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE)) return "portable";
  const bool fma = (c & bit_FMA) != 0;
  unsigned saved, high;  // registers that the system saves
  __asm__("xgetbv" : "=a"(saved), "=d"(high) : "c"(0));
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return "portable";
  constexpr unsigned avx2 = bit_AVX2 | bit_BMI | bit_BMI2;
  constexpr unsigned avx512 = bit_AVX512F | bit_AVX512DQ | bit_AVX512CD | bit_AVX512BW | bit_AVX512VL;
  if (!fma || (saved & 0x6) != 0x6 || (b & avx2) != avx2) return "portable";
  return (saved & 0xe6) == 0xe6 && (b & avx512) == avx512 ? "avx512" : "avx2";
}
#else
const char* best_isa() { return "portable"; }
#endif

}  // namespace

InvalidArgument::InvalidArgument(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text_, sizeof text_, format, arguments);
  va_end(arguments);
}

void set_last_error(const char* text) { std::snprintf(last_error, sizeof last_error, "%s", text); }

}  // namespace lg

int32_t lg_abi_version(void) { return LG_ABI_VERSION; }
const char* lg_last_error(void) { return lg::last_error; }
const char* lg_isa(void) { return LG_ISA_NAME; }
int32_t lg_toolkit(void) { return 0; }
int32_t lg_check(void) { return LG_OK; }
const char* lg_best_isa(void) { return lg::best_isa(); }
