// The operations of value-type maths on plain numbers. lanes.h has the same operations for many numbers at
// once.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "runtime/config.h"

namespace lg {

// For a value type V: the result of a comparison, as many integers as lanes, and the type of one lane.
template <class V>
struct ValueType {
  using Mask = typename V::Mask;
  using Index = typename V::Mask;
  using Scalar = typename V::Scalar;
};
template <>
struct ValueType<float> {
  using Mask = bool;
  using Index = int32_t;
  using Scalar = float;
};
template <>
struct ValueType<double> {
  using Mask = bool;
  using Index = int32_t;
  using Scalar = double;
};
template <class V>
using MaskOf = typename ValueType<V>::Mask;
template <class V>
using IndexOf = typename ValueType<V>::Index;
template <class V>
using ScalarOf = typename ValueType<V>::Scalar;

template <class T>
using IfNumber = std::enable_if_t<std::is_arithmetic_v<T>, T>;

// False for infinities and NaN.
template <class T>
LG_HD std::enable_if_t<std::is_arithmetic_v<T>, bool> is_finite(T a) {
  return a - a == 0;
}
// A gradient that does not exist is zero.
template <class T>
LG_HD IfNumber<T> finite(T a) {
  return is_finite(a) ? a : T(0);
}
template <class T>
LG_HD IfNumber<T> root(T a) {
  return std::sqrt(a);
}
template <class T>
LG_HD IfNumber<T> maximum(T a, T b) {
  return a > b ? a : b;
}
template <class T>
LG_HD IfNumber<T> minimum(T a, T b) {
  return a < b ? a : b;
}
template <class T>
LG_HD IfNumber<T> select(bool m, T yes, T no) {
  return m ? yes : no;
}
template <class T>
LG_HD IfNumber<T> only(bool m, T a) {
  return m ? a : T(0);
}
LG_HD bool without(bool a, bool b) { return a && !b; }
LG_HD bool any(bool m) { return m; }

// The same bits as another type.
template <class To, class T>
LG_HD std::enable_if_t<std::is_arithmetic_v<T>, To> reinterpret(T a) {
  static_assert(sizeof(To) == sizeof(T), "of the same size");
  To out;
  std::memcpy(&out, &a, sizeof out);
  return out;
}

}  // namespace lg
