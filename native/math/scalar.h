// The operations that maths is written with for any value type, on plain numbers. lanes.h has the same for many numbers
// at once.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "runtime/config.h"

namespace lg {

// What a comparison of values gives.
template <class V>
struct MaskType {
  using type = typename V::Mask;
};
template <>
struct MaskType<float> {
  using type = bool;
};
template <>
struct MaskType<double> {
  using type = bool;
};
template <class V>
using MaskOf = typename MaskType<V>::type;

template <class T>
using IfNumber = std::enable_if_t<std::is_arithmetic_v<T>, T>;

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
