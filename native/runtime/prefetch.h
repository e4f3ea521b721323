// Prefetching of several cache lines.
#pragma once

#include <cstdint>

#include "runtime/config.h"

namespace lg {

template <class T>
LG_HD void prefetch_values(const T* first, int64_t count) {
  constexpr int64_t per_line = 64 / static_cast<int64_t>(sizeof(T));
  for (int64_t i = 0; i < count; i += per_line) LG_PREFETCH(first + i);
  LG_PREFETCH(first + count - 1);
}

}  // namespace lg
