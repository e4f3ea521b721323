// The weight of a primitive at a pixel, and the reverse: the gradients of the primitive.
//
// V is the type of one pixel's value (math/scalar.h) or of several pixels' (math/lanes.h). Each footprint has
//   Item      one primitive as seen from one tile; places are relative to the tile's corner
//   bound     the region of the screen in which it is visible
//   sample    height in [0, 1] and depth at pixels
//   pull      adds gradients of these to `sums` values per pixel
//   finish    turns their sums over pixels into gradients of position and shape
// and states the number of further channels of the image (`extras`).
#pragma once

#include "math/scalar.h"
#include "runtime/config.h"

namespace lg {
namespace splat {

// Pixel centres: relative to the tile's corner, and on the plane at distance 1, with the length of the ray to that
// point.
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
