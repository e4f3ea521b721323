// Gradients that do not exist are zero.
#pragma once

#include "runtime/config.h"

namespace lg::field {

template <class T>
LG_HD bool is_finite(T value) {
  return value - value == 0;
}

template <class T>
LG_HD T finite(T value) {
  return is_finite(value) ? value : T(0);
}

}  // namespace lg::field
