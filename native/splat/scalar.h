// A plain number as the value of one pixel, for footprints where one thread has one pixel (see lanes.h).
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "runtime/config.h"

namespace lg {
namespace splat {

LG_HD float root(float a) { return std::sqrt(a); }
LG_HD double root(double a) { return std::sqrt(a); }
LG_HD float maximum(float a, float b) { return a > b ? a : b; }
LG_HD double maximum(double a, double b) { return a > b ? a : b; }
LG_HD float minimum(float a, float b) { return a < b ? a : b; }
LG_HD double minimum(double a, double b) { return a < b ? a : b; }
LG_HD bool less(float a, float b) { return a < b; }
LG_HD bool less(double a, double b) { return a < b; }
LG_HD bool less_equal(float a, float b) { return a <= b; }
LG_HD bool less_equal(double a, double b) { return a <= b; }
LG_HD float select(bool m, float yes, float no) { return m ? yes : no; }
LG_HD double select(bool m, double yes, double no) { return m ? yes : no; }

// exp for |x| up to 87, clamped beyond: 2^n p(r), x = n ln 2 + r, relative error below 2e-7.
struct Exponential {
  static constexpr float low = -87.0f, high = 87.0f, log2e = 1.44269504f, ln2_high = 0.693359375f,
                         ln2_low = -2.12194440e-4f, magic = 12582912.0f;  // 1.5 * 2^23: adding it rounds
  static constexpr float p[6] = {1.9875691500e-4f, 1.3981999507e-3f, 8.3334519073e-3f,
                                 4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f};
};

LG_HD float scalar_exp(float x) {
  using E = Exponential;
  x = x > E::low ? x : E::low;
  x = x < E::high ? x : E::high;
  const float rounded = x * E::log2e + E::magic, n = rounded - E::magic;
  const float r = (x - n * E::ln2_high) - n * E::ln2_low;
  float q = E::p[0];
  for (int i = 1; i < 6; ++i) q = q * r + E::p[i];
  q = q * (r * r) + r + 1.0f;
  uint32_t bits;
  std::memcpy(&bits, &rounded, 4);
  bits = (bits << 23) + (127u << 23);
  float scale;
  std::memcpy(&scale, &bits, 4);
  return q * scale;
}
LG_HD double scalar_exp(double x) { return std::exp(x); }

// Within the same range as the CPU's; on a device by its own instruction, which is off by some 1e-6 of the result.
LG_HD float exponential(float a) {
#if defined(__CUDA_ARCH__)
  return __expf(minimum(maximum(a, -87.0f), 87.0f));
#else
  return scalar_exp(a);
#endif
}
LG_HD double exponential(double a) { return std::exp(a); }

}  // namespace splat
}  // namespace lg
