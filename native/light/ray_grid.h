// The rays of an image, by those at the corners of its pixels, and gradients by these.
#pragma once

#include <cstdint>

#include "light/motion.h"
#include "light/random.h"
#include "light/vector.h"
#include "math/divide_up.h"
#include "runtime/config.h"

namespace lg::light {

template <class T>
struct PathRay {
  Vec3<T> origin, direction;
};

template <class T>
struct RayGrid {
  const T *origins, *directions;  // [height + 1, width + 1, 3]
  int64_t width;

  LG_HD Vec3<T> between(const T* corners, int64_t pixel, T x, T y) const {
    const int64_t row = pixel / width, column = pixel % width;
    const T* top = corners + 3 * (row * (width + 1) + column);
    const T* bottom = top + 3 * (width + 1);
    return (1 - y) * ((1 - x) * load3(top) + x * load3(top + 3)) +
           y * ((1 - x) * load3(bottom) + x * load3(bottom + 3));
  }
  LG_HD PathRay<T> ray(int64_t pixel, const Pair<T>& place) const {
    return {between(origins, pixel, place.first, place.second), between(directions, pixel, place.first, place.second)};
  }
  // A ray through a random point of a pixel, uniformly: the filter of the image is a box.
  LG_HD PathRay<T> ray(int64_t pixel, const Random<T>& random) const { return ray(pixel, random.pair(0)); }
};

template <class T>
RayGrid<T> make_ray_grid(const void* origins, const void* directions, int64_t width) {
  return {static_cast<const T*>(origins), static_cast<const T*>(directions), width};
}

// ---- Gradients -----------------------------------------------------------------------------------------------
//
// A pixel's rays depend on its four corners. Each pixel keeps the gradients by its own; then those of a corner's pixels
// are added up.

constexpr int corner_values = 6;  // of an origin and a direction
constexpr int pixel_values = 4 * corner_values;

template <class T>
struct PixelRays {
  double sums[pixel_values] = {};  // corners: (low, low), (high, low), (low, high), (high, high)

  LG_HD void add(const Pair<T>& place, const RayGradient<T>& g) {
    const T x = place.first, y = place.second;
    const T weight[4] = {(1 - x) * (1 - y), x * (1 - y), (1 - x) * y, x * y};
    const T values[corner_values] = {g.origin.x, g.origin.y, g.origin.z, g.direction.x, g.direction.y, g.direction.z};
    for (int k = 0; k < pixel_values; ++k) {
      const T value = weight[k / corner_values] * values[k % corner_values];
      if (is_finite(value)) sums[k] += static_cast<double>(value);
    }
  }
  LG_HD void store(T* to) const {
    for (int k = 0; k < pixel_values; ++k) to[k] = static_cast<T>(sums[k]);
  }
};

// Adds up what pixels have; an item is a corner.
template <class T>
struct GatherRays {
  const T* of_pixels;       // [height, width, pixel_values]
  T *origins, *directions;  // each may be null
  int64_t height, width;

  bool exist() const { return origins || directions; }
  int64_t pixels() const { return height * width; }
  int64_t corners() const { return (height + 1) * (width + 1); }

  LG_HD void operator()(int64_t corner) const {
    const int64_t row = corner / (width + 1), column = corner % (width + 1);
    double sum[corner_values] = {};
    for (int k = 0; k < 4; ++k) {
      const int64_t y = row - k / 2, x = column - k % 2;
      if (y < 0 || y >= height || x < 0 || x >= width) continue;
      const T* values = of_pixels + pixel_values * (y * width + x) + corner_values * k;
      for (int c = 0; c < corner_values; ++c) sum[c] += static_cast<double>(values[c]);
    }
    for (int c = 0; c < 3; ++c) {
      if (origins) origins[3 * corner + c] = static_cast<T>(sum[c]);
      if (directions) directions[3 * corner + c] = static_cast<T>(sum[3 + c]);
    }
  }
};

}  // namespace lg::light
