// Numbers that are usually one of a few, as compile-time constants: loops over two, three or four channels are
// unrolled.
#pragma once

#include <cstdint>
#include <type_traits>

namespace lg {

template <int N>
using Constant = std::integral_constant<int, N>;

// Calls body(Constant<value>()) where the value is one of the candidates, else body(Constant<0>()).
template <int First, int... Others, class Body>
void with_constant(int64_t value, Body&& body) {
  if (value == First) {
    body(Constant<First>());
  } else if constexpr (sizeof...(Others) > 0) {
    with_constant<Others...>(value, body);
  } else {
    body(Constant<0>());
  }
}

}  // namespace lg
