// Sine and cosine of plain numbers and of lanes. The maths library's versions would prevent the vectorisation of loops,
// and differ between machines.
#pragma once

#include "math/scalar.h"

namespace lg {

template <class V>
struct SineCosine {
  V sine, cosine;
};

// Coefficients from the highest power of x down.
template <class V, int N>
LG_HD V polynomial(const V& x, const ScalarOf<V> (&factors)[N]) {
  V sum(factors[0]);
  LG_UNROLL
  for (int k = 1; k < N; ++k) sum = sum * x + V(factors[k]);
  return sum;
}

// x + x^3 sine(x^2) and 1 - x^2 / 2 + x^4 cosine(x^2). -1/2 is added instead of subtracting 1/2: GCC fuses two
// neighbouring operations of which one is a sum and the other a difference, even with contraction off.
template <class V>
LG_HD SineCosine<V> sine_cosine_by(const V& x, const V& squared, const V& sine, const V& cosine) {
  const V less = V(1) + V(ScalarOf<V>(-0.5)) * squared;
  return {x + x * squared * sine, less + squared * squared * cosine};
}

// For an angle of up to an eighth of a turn either way, in radians, accurate to one or two roundings. The minimax
// polynomials are those of sinf() and cosf(), and of sin() and cos(), in the Cephes library (S. L. Moshier, Methods and
// Programs for Mathematical Functions, 1989).
template <class V>
LG_HD SineCosine<V> sine_cosine_of_eighth(const V& angle) {
  const V squared = angle * angle;
  if constexpr (sizeof(ScalarOf<V>) == 4) {
    const float sine[] = {-1.9515295891e-4f, 8.3321608736e-3f, -1.6666654611e-1f};
    const float cosine[] = {2.443315711809948e-5f, -1.388731625493765e-3f, 4.166664568298827e-2f};
    return sine_cosine_by(angle, squared, polynomial(squared, sine), polynomial(squared, cosine));
  } else {
    const double sine[] = {1.58962301576546568060e-10, -2.50507477628578072866e-8, 2.75573136213857245213e-6,
                           -1.98412698295895385996e-4, 8.33333333332211858878e-3,  -1.66666666666666307295e-1};
    const double cosine[] = {-1.13585365213876817300e-11, 2.08757008419747316778e-9,  -2.75573141792967388112e-7,
                             2.48015872888517045348e-5,   -1.38888888888730564116e-3, 4.16666666666665929218e-2};
    return sine_cosine_by(angle, squared, polynomial(squared, sine), polynomial(squared, cosine));
  }
}

// For an angle in turns, from 0 to 1.
template <class V>
LG_HD SineCosine<V> sine_cosine_of_turns(const V& turns) {
  const auto from = [&](double least) { return V(ScalarOf<V>(least)) <= turns; };
  const MaskOf<V> first = from(0.125), second = from(0.375), third = from(0.625), fourth = from(0.875);
  const V quarter(ScalarOf<V>(0.25));
  const V nearest = only(first, quarter) + only(second, quarter) + only(third, quarter) + only(fourth, quarter);
  const SineCosine<V> near = sine_cosine_of_eighth(V(ScalarOf<V>(6.28318530717958647693)) * (turns - nearest));
  const MaskOf<V> across = without(first, second) | without(third, fourth);
  const V sine = select(across, near.cosine, near.sine), cosine = select(across, near.sine, near.cosine);
  return {select(without(second, fourth), -sine, sine), select(without(first, third), -cosine, cosine)};
}

}  // namespace lg
