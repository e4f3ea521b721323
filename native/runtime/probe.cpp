// The library that says which instruction set a processor runs, where there is none that every processor runs.
#include "lumigrad.h"
#include "runtime/best_isa.h"

int32_t lg_abi_version(void) { return LG_ABI_VERSION; }
const char* lg_best_isa(void) { return lg::best_isa(); }
