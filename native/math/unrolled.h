// Unrolled loops of constant length.
#pragma once

#include <cstdint>
#include <utility>

#include "runtime/config.h"

namespace lg {

template <class Body, int... i>
LG_HD void call_each(std::integer_sequence<int, i...>, Body&& body) {
  (body(i), ...);
}

// Calls body(0), ..., body(N - 1). Arrays that a loop goes over stay in memory; here, they can live in registers.
template <int N, class Body>
LG_HD void unrolled(Body&& body) {
  call_each(std::make_integer_sequence<int, N>{}, body);
}

// The same if N is not 0, otherwise a loop up to `count`.
template <int N, class Body>
LG_HD void unrolled_or(int64_t count, Body&& body) {
  if constexpr (N > 0) {
    unrolled<N>(body);
  } else {
    for (int64_t i = 0; i < count; ++i) body(i);
  }
}

}  // namespace lg
