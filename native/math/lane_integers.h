// Conversions between lanes of numbers and lanes of integers.
#pragma once

#include "math/lanes.h"
#include "runtime/config.h"

namespace lg {

// Truncated towards zero.
template <class T, int N>
LG_INLINE Lanes<Integer<T>, N> truncated(const Lanes<T, N>& a) {
  using Whole = Lanes<Integer<T>, N>;
  return Whole::make([&](int i) LG_INLINE_LAMBDA { return __builtin_convertvector(a.part[i], typename Whole::Part); });
}

template <class T, int N>
LG_INLINE Lanes<T, N> converted(const Lanes<Integer<T>, N>& a) {
  return Lanes<T, N>::make(
      [&](int i) LG_INLINE_LAMBDA { return __builtin_convertvector(a.part[i], typename Lanes<T, N>::Part); });
}

}  // namespace lg
