// Facts about the library: version, instruction set, last error.
#include <cstdio>

#include "lumigrad.h"
#include "runtime/best_isa.h"
#include "runtime/status.h"

namespace lg {
namespace {

thread_local char last_error[256] = "";

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
