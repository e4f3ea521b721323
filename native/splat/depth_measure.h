// The measure of depth in which distortion is computed.
#pragma once

#include "math/scalar.h"
#include "runtime/config.h"

namespace lg {
namespace splat {

// z itself, or m = far (z - near) / (z (far - near)) without a constant: only differences matter, and they keep more
// digits. Anything nearer than `near` counts as at `near`.
template <class T>
struct DepthMeasure {
  bool linear;
  T nearest, factor;

  LG_HD DepthMeasure(double near, double far)
      : linear(!(near > 0)), nearest(T(near)), factor(T(near * far / (far - near))) {}
  template <class V>
  LG_HD V of(const V& z) const {
    return linear ? z : T(0) - factor / maximum(z, V(nearest));
  }
  template <class V>
  LG_HD V slope(const V& z) const {
    return linear ? V(1) : only(nearest < z, factor / (z * z));
  }
};

}  // namespace splat
}  // namespace lg
