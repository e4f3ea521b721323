// The library's own facts: version, instruction set, last error.
#include <cstdio>

#include "lumigrad.h"
#include "runtime/status.h"

#if defined(_MSC_VER) && defined(_M_X64)
#include <immintrin.h>
#include <intrin.h>
#endif

namespace lg {
namespace {

thread_local char last_error[256] = "";

#if defined(_MSC_VER) && defined(_M_X64)
const char* best_isa() {
  int info[4];
  __cpuid(info, 1);
  const bool os_saves_vectors = (info[2] & (1 << 27)) != 0;
  if (!os_saves_vectors) return "portable";
  const unsigned long long saved = _xgetbv(0);
  __cpuidex(info, 7, 0);
  const int avx512 = (1 << 16) | (1 << 17) | (1 << 28) | (1 << 30) | (1 << 31);  // F, DQ, CD, BW, VL
  if ((saved & 0xe6) == 0xe6 && (info[1] & avx512) == avx512) return "avx512";
  if ((saved & 0x6) == 0x6 && (info[1] & (1 << 5))) return "avx2";
  return "portable";
}
#elif (defined(__GNUC__) || defined(__clang__)) && defined(__x86_64__)
const char* best_isa() {
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") &&
                    __builtin_cpu_supports("bmi2");
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                      __builtin_cpu_supports("avx512cd");
  return avx2 && avx512 ? "avx512" : avx2 ? "avx2" : "portable";
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
