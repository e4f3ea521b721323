// The values of a block (block_parts.h) in an image with several values per pixel, as one vector per channel.
#pragma once

#include <cstdint>

#include "math/lanes.h"
#include "math/quads.h"
#include "math/unrolled.h"
#include "surface/block_parts.h"

namespace lg::surface {

// Values: per pixel, one to four.
template <class T, int Values>
struct BlockValues {
  static_assert(Values >= 1 && Values <= 4, "a row of a block is at most four quads");
  Lanes<T> value[Values];

  // from: the block's first pixel. stride: values between rows of the image. inside: the lanes inside the image; the
  // others get zeros.
  LG_INLINE BlockValues(const T* from, int64_t stride, uint32_t inside) {
    if (LG_LIKELY(inside == all_lanes)) {
      sort(from, stride);
    } else {
      T padded[Values * block_lanes];
      for (int l = 0; l < block_lanes; ++l) {
        const T* pixel = from + (l >> 2) * stride + Values * (l & 3);
        for (int k = 0; k < Values; ++k) padded[Values * l + k] = (inside >> l & 1) != 0 ? pixel[k] : T(0);
      }
      sort(padded, Values * block_size);
    }
  }

 private:
  LG_INLINE void sort(const T* from, int64_t stride) {
    Lanes<T> quad[Values];  // the first four values of each row of the block, then the next four, and so on
    unrolled<Values>([&](int k) LG_INLINE_LAMBDA { quad[k] = load_quads(from + 4 * k, stride); });
    if constexpr (Values == 2) {
      value[0] = pick_in_quads<0, 2, 4, 6>(quad[0], quad[1]);
      value[1] = pick_in_quads<1, 3, 5, 7>(quad[0], quad[1]);
    } else if constexpr (Values == 3) {
      value[0] = pick_in_quads<0, 3, 6, 6>(quad[0], quad[1]);
      value[1] = pick_in_quads<1, 4, 7, 7>(quad[0], quad[1]);
      value[2] = pick_in_quads<2, 5, 5, 5>(quad[0], quad[1]);
      value[0] = pick_in_quads<0, 1, 2, 5>(value[0], quad[2]);
      value[1] = pick_in_quads<0, 1, 2, 6>(value[1], quad[2]);
      value[2] = pick_in_quads<0, 1, 4, 7>(value[2], quad[2]);
    } else {
      if constexpr (Values == 4) transpose_quads(quad);
      unrolled<Values>([&](int k) LG_INLINE_LAMBDA { value[k] = quad[k]; });
    }
  }
};

}  // namespace lg::surface
