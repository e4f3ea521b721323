// How a primitive weighs a pixel, and the reverse: what gradients of that mean for the primitive.
//
// V is the type of one pixel's value (math/scalar.h) or of several pixels' (math/lanes.h). Each footprint has
//   Item      one primitive as seen from one tile; places are relative to the tile's corner
//   bound     where on the screen it can be seen
//   sample    height in [0, 1] and depth at pixels
//   pull      adds gradients of these to `sums` values per pixel
//   finish    turns their sums over pixels into gradients of position and shape
// and says how many further channels the image gets (`extras`).
#pragma once

#include "math/scalar.h"
#include "runtime/config.h"

namespace lg {
namespace splat {

// Pixel centres: from the tile's corner, and on the plane at distance 1 with the length of the ray to there.
template <class V>
struct Pixels {
  V left, top;  // pixels
  V x, y, inverse_length;
};

template <class V>
struct Sample {
  MaskOf<V> reached;
  V height, depth;
};

struct Window {
  double x0, y0;  // of the tile's corner, pixels
};

}  // namespace splat
}  // namespace lg
