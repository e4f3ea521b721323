// Run by CMake on the machine that builds.
#include <cstdio>

#include "runtime/best_isa.h"

int main() { std::puts(lg::best_isa()); }
