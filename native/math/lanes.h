// SIMD: N values side by side, as an array of the compiler's vectors, each as large as a register.
//
// Code is written for a value type V with the operations below: Lanes here, a plain number on a GPU (math/scalar.h).
// Comparisons give masks, which are integer lanes, all bits set where the comparison holds. Every operation is exact or
// rounded as IEEE says, and sums have one order, so results are the same for every instruction set.
//
// Traps. GCC 12 splits vectors larger than a register into scalars, hence parts of a register's size. It keeps an array
// in memory if a loop goes over it or if it is copied as a whole, hence parts are visited without a loop and loaded one
// by one. It treats intrinsics as calls that may throw, around which nothing stays in a register, hence noexcept.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>

#include "math/scalar.h"
#include "math/unrolled.h"
#include "runtime/config.h"

#if defined(__AVX2__)
#include <immintrin.h>
#elif defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace lg {

#if defined(__AVX512F__)
constexpr int register_bytes = 64;
#elif defined(__AVX2__)
constexpr int register_bytes = 32;
#else
constexpr int register_bytes = 16;
#endif

// SSE2 only compares integers of 32 bits.
#if defined(__SSE2__) && !defined(__SSE4_2__)
constexpr bool compares_64_bits = false;
#else
constexpr bool compares_64_bits = true;
#endif

// The integers of a floating-point type's size.
template <class T>
using Integer = std::conditional_t<sizeof(T) == 4, int32_t, int64_t>;

// a < b ? a : b and a > b ? a : b. GCC makes one instruction of each, but not if b is a constant.
template <class T, class Part>
LG_INLINE Part part_minimum(const Part& a, const Part& b) noexcept {
#if defined(__AVX512F__)  // the zero-masked form: GCC 12 warns about the undefined register inside the plain one
  if constexpr (std::is_same_v<T, float> && sizeof a == 64) return _mm512_maskz_min_ps(0xffff, a, b);
#endif
#if defined(__AVX2__)
  if constexpr (std::is_same_v<T, float> && sizeof a == 32) return _mm256_min_ps(a, b);
#endif
#if defined(__SSE2__)
  if constexpr (std::is_same_v<T, float> && sizeof a == 16) return _mm_min_ps(a, b);
#endif
  return a < b ? a : b;
}
template <class T, class Part>
LG_INLINE Part part_maximum(const Part& a, const Part& b) noexcept {
#if defined(__AVX512F__)
  if constexpr (std::is_same_v<T, float> && sizeof a == 64) return _mm512_maskz_max_ps(0xffff, a, b);
#endif
#if defined(__AVX2__)
  if constexpr (std::is_same_v<T, float> && sizeof a == 32) return _mm256_max_ps(a, b);
#endif
#if defined(__SSE2__)
  if constexpr (std::is_same_v<T, float> && sizeof a == 16) return _mm_max_ps(a, b);
#endif
  return a > b ? a : b;
}

template <class T, int N = 16>
struct Lanes {
  static constexpr int bytes = N * int{sizeof(T)} < register_bytes ? N * int{sizeof(T)} : register_bytes;
  static constexpr int per_part = bytes / int{sizeof(T)}, parts = N / per_part;
  static_assert(per_part * parts == N, "whole registers");
  template <class S>
  struct Vector {
    typedef S type __attribute__((vector_size(per_part * sizeof(S))));
  };
  using Part = typename Vector<T>::type;
  using Mask = Lanes<Integer<T>, N>;
  using Scalar = T;

  Part part[parts];

  Lanes() = default;
  Lanes(const Lanes&) = default;
  LG_INLINE Lanes& operator=(const Lanes& a) {  // part by part, because of the second trap
    each([&](int i) LG_INLINE_LAMBDA { part[i] = a.part[i]; });
    return *this;
  }
  LG_INLINE Lanes(T a) {                                          // NOLINT: a scalar is meant to become lanes
    each([&](int i) LG_INLINE_LAMBDA { part[i] = a - Part{}; });  // minus zero: adding it would turn -0 into 0
  }
  // A fraction does not become an integer in silence.
  template <class S, class = std::enable_if_t<std::is_floating_point_v<S> && std::is_integral_v<T>>>
  Lanes(S) = delete;

  template <class Body>
  static LG_INLINE void each(Body&& body) {
    unrolled<parts>(body);
  }
  template <class Body>
  static LG_INLINE Lanes make(Body&& body) {
    Lanes out;
    each([&](int i) LG_INLINE_LAMBDA { out.part[i] = body(i); });
    return out;
  }

  // S may differ from T; values are converted from and to it.
  template <class S>
  static LG_INLINE Lanes load(const S* from) {
    return make([&](int i) LG_INLINE_LAMBDA {
      typename Vector<S>::type values;
      std::memcpy(&values, from + i * per_part, sizeof values);
      return __builtin_convertvector(values, Part);
    });
  }
  template <class S>
  LG_INLINE void store(S* to) const {
    each([&](int i) LG_INLINE_LAMBDA {
      const auto values = __builtin_convertvector(part[i], typename Vector<S>::type);
      std::memcpy(to + i * per_part, &values, sizeof values);
    });
  }
  LG_INLINE T operator[](int l) const { return part[l / per_part][l % per_part]; }
  LG_INLINE void set(int l, T a) { part[l / per_part][l % per_part] = a; }

#define LG_LANES_BINARY(op)                                                      \
  friend LG_INLINE Lanes operator op(const Lanes& a, const Lanes& b) {           \
    return make([&](int i) LG_INLINE_LAMBDA { return a.part[i] op b.part[i]; }); \
  }
#define LG_LANES_COMPARISON(op)                                                                               \
  friend LG_INLINE Mask operator op(const Lanes& a, const Lanes& b) {                                         \
    return Mask::make([&](int i) LG_INLINE_LAMBDA { return (typename Mask::Part)(a.part[i] op b.part[i]); }); \
  }
  LG_LANES_BINARY(+)
  LG_LANES_BINARY(-)
  LG_LANES_BINARY(*)
  LG_LANES_BINARY(/)
  LG_LANES_COMPARISON(<)
  LG_LANES_COMPARISON(<=)
  LG_LANES_COMPARISON(==)
  // For integers and masks.
  LG_LANES_BINARY(&)
  LG_LANES_BINARY(|)
#undef LG_LANES_BINARY
#undef LG_LANES_COMPARISON
  LG_INLINE Lanes operator-() const {
    return make([&](int i) LG_INLINE_LAMBDA { return -part[i]; });
  }
  LG_INLINE Lanes operator!() const {
    return make([&](int i) LG_INLINE_LAMBDA { return ~part[i]; });
  }
  LG_INLINE Lanes operator<<(int bits) const {
    return make([&](int i) LG_INLINE_LAMBDA { return part[i] << bits; });
  }
  // a & !b of masks, as one comparison of -1 and 0. From a negated comparison, GCC makes an unordered one, which takes
  // NEON five instructions. With AVX-512, that is preferable; there, this would compare mask registers bit by bit.
  friend LG_INLINE Lanes without(const Lanes& a, const Lanes& b) {
    return make([&](int i) LG_INLINE_LAMBDA {
      if constexpr (register_bytes < 64 && (sizeof(T) == 4 || compares_64_bits)) {
        return (Part)(a.part[i] < b.part[i]);
      } else {
        return a.part[i] & ~b.part[i];
      }
    });
  }
  LG_INLINE Lanes& operator+=(const Lanes& b) { return *this = *this + b; }
  LG_INLINE Lanes& operator-=(const Lanes& b) { return *this = *this - b; }
  LG_INLINE Lanes& operator*=(const Lanes& b) { return *this = *this * b; }
  LG_INLINE Lanes& operator&=(const Lanes& b) { return *this = *this & b; }
  LG_INLINE Lanes& operator|=(const Lanes& b) { return *this = *this | b; }

  friend LG_INLINE Lanes root(const Lanes& a) {
    return make([&](int i) LG_INLINE_LAMBDA {
      Part out;  // compilers make one instruction of it
      for (int l = 0; l < per_part; ++l) out[l] = std::sqrt(a.part[i][l]);
      return out;
    });
  }
  friend LG_INLINE Lanes absolute(const Lanes& a) {
    return make([&](int i) LG_INLINE_LAMBDA {
      using Bits = typename Mask::Part;
      return (Part)((Bits)a.part[i] & std::numeric_limits<Integer<T>>::max());
    });
  }
  friend LG_INLINE Lanes select(const Mask& m, const Lanes& yes, const Lanes& no) {
    return make([&](int i) LG_INLINE_LAMBDA {
      if constexpr (sizeof(T) == 8 && !compares_64_bits) {
        using Bits = typename Mask::Part;
        return (Part)((m.part[i] & (Bits)yes.part[i]) | (~m.part[i] & (Bits)no.part[i]));
      } else {
        return m.part[i] ? yes.part[i] : no.part[i];
      }
    });
  }
  // b if either is NaN.
  friend LG_INLINE Lanes minimum(const Lanes& a, const Lanes& b) {
    return make([&](int i) LG_INLINE_LAMBDA { return part_minimum<T>(a.part[i], b.part[i]); });
  }
  friend LG_INLINE Lanes maximum(const Lanes& a, const Lanes& b) {
    return make([&](int i) LG_INLINE_LAMBDA { return part_maximum<T>(a.part[i], b.part[i]); });
  }
};

template <class T>
LG_INLINE Lanes<T> load(const T* from) {
  return Lanes<T>::load(from);
}
template <class T, int N>
LG_INLINE void store(T* to, const Lanes<T, N>& a) {
  a.store(to);
}

template <class T>
LG_INLINE Lanes<T, 4> four_lanes(T a, T b, T c, T d) {
  using Part = typename Lanes<T, 4>::Part;
  Lanes<T, 4> out;
  if constexpr (out.parts == 1) {
    out.part[0] = Part{a, b, c, d};
  } else {
    out.part[0] = Part{a, b}, out.part[1] = Part{c, d};
  }
  return out;
}

// a where the mask is set, else 0.
template <class T, int N>
LG_INLINE Lanes<T, N> only(const Lanes<Integer<T>, N>& m, const Lanes<T, N>& a) {
  return select(m, a, Lanes<T, N>(T(0)));
}

// The same bits as another type.
template <class To, class T, int N>
LG_INLINE Lanes<To, N> reinterpret(const Lanes<T, N>& a) {
  static_assert(sizeof(To) == sizeof(T), "of the same size");
  return Lanes<To, N>::make([&](int i) LG_INLINE_LAMBDA { return (typename Lanes<To, N>::Part)a.part[i]; });
}

// ---- Moving values between lanes ---------------------------------------------------------------------------

template <int first, class Part, int... i>
LG_INLINE Part every_second(const Part& a, const Part& b, std::integer_sequence<int, i...>) {
  return __builtin_shufflevector(a, b, (first + 2 * i)...);
}

// The values at even (first = 0) or odd (first = 1) places of two consecutive rows of lanes.
template <int first, class T, int N>
LG_INLINE Lanes<T, N> every_second(const Lanes<T, N>& a, const Lanes<T, N>& b) {
  using L = Lanes<T, N>;
  const auto part = [&](int i) LG_INLINE_LAMBDA { return i < L::parts ? a.part[i] : b.part[i - L::parts]; };
  return L::make([&](int i) LG_INLINE_LAMBDA {
    return every_second<first>(part(2 * i), part(2 * i + 1), std::make_integer_sequence<int, L::per_part>{});
  });
}

// Two rows of four lanes joined, and the two halves of a row of eight.
template <class T>
LG_INLINE Lanes<T, 8> joined(const Lanes<T, 4>& low, const Lanes<T, 4>& high) {
  Lanes<T, 8> out;
  if constexpr (out.parts == 1) {
    out.part[0] = __builtin_shufflevector(low.part[0], high.part[0], 0, 1, 2, 3, 4, 5, 6, 7);
  } else {
    low.each([&](int i) LG_INLINE_LAMBDA { out.part[i] = low.part[i], out.part[low.parts + i] = high.part[i]; });
  }
  return out;
}
// The two lower or upper of four lanes, twice.
template <int half, class T>
LG_INLINE Lanes<T, 4> twice_half_of(const Lanes<T, 4>& a) {
  Lanes<T, 4> out;
  if constexpr (Lanes<T, 4>::parts == 1) {
    out.part[0] = __builtin_shufflevector(a.part[0], a.part[0], 2 * half, 2 * half + 1, 2 * half, 2 * half + 1);
  } else {
    out.part[0] = out.part[1] = a.part[half];
  }
  return out;
}
template <int half, class T>
LG_INLINE Lanes<T, 4> half_of(const Lanes<T, 8>& a) {
  Lanes<T, 4> out;
  if constexpr (Lanes<T, 8>::parts == 1) {
    out.part[0] = __builtin_shufflevector(a.part[0], a.part[0], 4 * half, 4 * half + 1, 4 * half + 2, 4 * half + 3);
  } else {
    out.each([&](int i) LG_INLINE_LAMBDA { out.part[i] = a.part[half * out.parts + i]; });
  }
  return out;
}

// ---- Reductions over lanes ---------------------------------------------------------------------------------

template <int first, class Part, int... i>
LG_INLINE auto values_of(const Part& part, std::integer_sequence<int, i...>) {
  return __builtin_shufflevector(part, part, (first + i)...);
}

// Halves are added until one value is left.
template <class T, int N>
LG_INLINE T sum(const Lanes<T, N>& a) {
  if constexpr (N == 1) {
    return a[0];
  } else if constexpr (N == 2) {
    return a[0] + a[1];
  } else if constexpr (N == 4) {
    return (a[0] + a[2]) + (a[1] + a[3]);
  } else {
    Lanes<T, N / 2> low, high;
    if constexpr (Lanes<T, N>::parts > 1) {
      constexpr int half = Lanes<T, N>::parts / 2;
      Lanes<T, N / 2>::each([&](int i) LG_INLINE_LAMBDA { low.part[i] = a.part[i], high.part[i] = a.part[half + i]; });
    } else {
      low.part[0] = values_of<0>(a.part[0], std::make_integer_sequence<int, N / 2>{});
      high.part[0] = values_of<N / 2>(a.part[0], std::make_integer_sequence<int, N / 2>{});
    }
    return sum(low + high);
  }
}

// Lane l's bit, 1 << l.
template <class T, int N>
LG_INLINE Lanes<T, N> lane_bits() {
  alignas(64) static constexpr T bits[16] = {1,      1 << 1, 1 << 2,  1 << 3,  1 << 4,  1 << 5,  1 << 6,  1 << 7,
                                             1 << 8, 1 << 9, 1 << 10, 1 << 11, 1 << 12, 1 << 13, 1 << 14, 1 << 15};
  return Lanes<T, N>::load(bits);
}

// A mask from bits and bits from a mask: bit l belongs to lane l.
template <class T, int N = 16>
LG_INLINE Lanes<Integer<T>, N> mask_of(uint32_t bits) {
  const auto each_bit = lane_bits<Integer<T>, N>();
  return (Lanes<Integer<T>, N>(static_cast<Integer<T>>(bits)) & each_bit) == each_bit;
}
#if defined(__SSE2__)
template <class T, int N>
LG_INLINE uint32_t part_bits(const typename Lanes<T, N>::Part& part) noexcept {
  constexpr int bytes = Lanes<T, N>::bytes;
  constexpr bool words = sizeof(T) == 4;
#if defined(__AVX512F__)
  if constexpr (bytes == 64 && words) return _mm512_movepi32_mask((__m512i)part);
  if constexpr (bytes == 64 && !words) return _mm512_movepi64_mask((__m512i)part);
#endif
#if defined(__AVX2__)
  if constexpr (bytes == 32 && words) return static_cast<uint32_t>(_mm256_movemask_ps((__m256)part));
  if constexpr (bytes == 32 && !words) return static_cast<uint32_t>(_mm256_movemask_pd((__m256d)part));
#endif
  if constexpr (bytes == 16 && words) return static_cast<uint32_t>(_mm_movemask_ps((__m128)part));
  if constexpr (bytes == 16 && !words) return static_cast<uint32_t>(_mm_movemask_pd((__m128d)part));
}
#endif
template <class T, int N>
LG_INLINE uint32_t bits_of(const Lanes<T, N>& mask) {
#if defined(__SSE2__)
  uint32_t bits = 0;
  mask.each([&](int i) LG_INLINE_LAMBDA { bits |= part_bits<T, N>(mask.part[i]) << (i * mask.per_part); });
  return bits;
#else
  return static_cast<uint32_t>(sum(mask & lane_bits<T, N>()));
#endif
}
template <class T, int N>
LG_INLINE bool any(const Lanes<T, N>& mask) {
  typename Lanes<T, N>::Part all{};
  mask.each([&](int i) LG_INLINE_LAMBDA { all |= mask.part[i]; });
#if defined(__SSE2__)
  return part_bits<T, N>(all) != 0;
#else
  uint64_t halves[2];
  std::memcpy(halves, &all, sizeof halves);
  return (halves[0] | halves[1]) != 0;
#endif
}

}  // namespace lg
