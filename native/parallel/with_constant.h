// Compile-time constants for numbers that usually have one of a few values: loops over two, three or four channels are
// unrolled.
#pragma once

#include <cstdint>
#include <type_traits>

namespace lg {

template <int N>
using Constant = std::integral_constant<int, N>;

// Calls body(Constant<value>()) and returns true if the value is one of the candidates.
template <int First, int... Others, class Body>
bool with_one_of(int64_t value, Body&& body) {
  if (value == First) {
    body(Constant<First>());
    return true;
  }
  if constexpr (sizeof...(Others) > 0) {
    return with_one_of<Others...>(value, body);
  } else {
    return false;
  }
}

// Calls body(Constant<value>()) if the value is one of the candidates, otherwise body(Constant<0>()).
template <int... Candidates, class Body>
void with_constant(int64_t value, Body&& body) {
  if (!with_one_of<Candidates...>(value, body)) body(Constant<0>());
}

// The same, for bodies that all give the same bits. A library for rarely used machines has only the general body: a
// little slower, but compiled in less time.
template <int... Candidates, class Body>
void with_constant_for_speed([[maybe_unused]] int64_t value, Body&& body) {
#ifdef LG_GENERAL_BODIES_ONLY
  body(Constant<0>());
#else
  with_constant<Candidates...>(value, body);
#endif
}

}  // namespace lg
