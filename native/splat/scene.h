// What a call of the splatting kernels is about, and its primitives as a footprint sees them.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "common/memory.h"
#include "common/parallel.h"
#include "splat/binning.h"
#include "splat/footprints.h"

namespace lg {
namespace splat {

enum class Blend { alpha, softmax, normalised, nearest };

struct Settings {
  double alpha_max, alpha_min, stop, min_depth, max_depth;
  int64_t limit;  // contributors per pixel, or 0 for any number
};

// Values of primitives: of every view its own, or shared by all.
template <class T>
struct PerPrimitive {
  const T* data;
  int64_t views, primitives, channels;
  const T* at(int64_t view, int64_t p) const { return data + ((views > 1 ? view * primitives : 0) + p) * channels; }
};

template <class T>
struct Scene {
  PerPrimitive<T> position, shape, depth, opacity, payload;
  const T* background;  // [1 or views, channels]
  int64_t background_views, primitives, channels;
  Tiles tiles;
  const T* view;        // [views, 4, 4], null for footprints in pixels
  const T* intrinsics;  // [views, 4]
  T gamma;
  Settings settings;

  const T* background_of(int64_t v) const { return background + (background_views > 1 ? v * channels : 0); }

  Camera camera(int64_t v) const {
    Camera out{};
    if (!view) return out;
    const T *m = view + 16 * v, *lens = intrinsics + 4 * v;
    for (int k = 0; k < 3; ++k) {
      const double sign = k == 2 ? -1 : 1;  // cameras look along -z, here z is into the scene
      for (int j = 0; j < 3; ++j) out.rotation[3 * k + j] = sign * double(m[4 * k + j]);
      out.translation[k] = sign * double(m[4 * k + 3]);
    }
    out.fx = lens[0], out.fy = lens[1], out.cx = lens[2], out.cy = lens[3];
    return out;
  }
};

// Uniform access to primitives, whether their footprint is in the world or in pixels.
template <class T, class Footprint, bool InWorld = (Footprint::position == 3)>
struct Primitives;

template <class T, class Footprint>
struct Primitives<T, Footprint, false> {
  static bool bound(const Scene<T>& scene, const Camera&, int64_t v, int64_t p, Bound* out, float* depth) {
    const T *xy = scene.position.at(v, p), z = *scene.depth.at(v, p), opacity = *scene.opacity.at(v, p);
    if (!std::isfinite(xy[0] + xy[1] + z + opacity)) return false;
    *depth = static_cast<float>(z);
    const T least = static_cast<T>(scene.settings.alpha_min);
    return Footprint::bound(xy, scene.shape.at(v, p), opacity, least, out);
  }
  static typename Footprint::Item load(const Scene<T>& scene, const Camera&, int64_t v, int64_t p, const Window& window) {
    return Footprint::load(scene.position.at(v, p), scene.shape.at(v, p), *scene.depth.at(v, p), window);
  }
};

template <class T, class Footprint>
struct Primitives<T, Footprint, true> {
  static void centre_of(const Scene<T>& scene, const Camera& camera, int64_t v, int64_t p, double* centre) {
    const T* x = scene.position.at(v, p);
    const double world[3] = {double(x[0]), double(x[1]), double(x[2])};
    to_camera(camera, world, centre);
  }
  static bool bound(const Scene<T>& scene, const Camera& camera, int64_t v, int64_t p, Bound* out, float* depth) {
    const double radius = *scene.shape.at(v, p), opacity = *scene.opacity.at(v, p);
    double c[3];
    centre_of(scene, camera, v, p, c);
    const double front = Footprint::front(c, radius);
    if (!(radius > 0) || !(opacity > 0) || !std::isfinite(c[0] + c[1] + c[2] + radius + opacity)) return false;
    if (!(front >= scene.settings.min_depth && front <= scene.settings.max_depth && front > 0)) return false;
    *depth = static_cast<float>(front);
    return Footprint::bound(c, radius, camera, out);
  }
  static typename Footprint::Item load(const Scene<T>& scene, const Camera& camera, int64_t v, int64_t p,
                                       const Window& window) {
    double c[3];
    centre_of(scene, camera, v, p, c);
    return Footprint::load(c, double(*scene.shape.at(v, p)), camera, window);
  }
};

// Bounds of all primitives of all views, and from them the tiles' lists.
struct Binned {
  Buffer<Bound> bound;
  Bins bins;
};

template <class T, class Footprint>
Binned bin(int threads, const Scene<T>& scene, bool with_slots) {
  constexpr int64_t per_task = 4096;
  const int64_t count = scene.primitives, tasks = divide_up(count, per_task);
  Binned out;
  out.bound = Buffer<Bound>(scene.tiles.views * count);
  Buffer<uint32_t> keys(scene.tiles.views * count);
  parallel_for(threads, scene.tiles.views * tasks, [&](int64_t task, int) {
    const int64_t v = task / tasks, begin = task % tasks * per_task, end = std::min(count, begin + per_task);
    const Camera camera = scene.camera(v);
    for (int64_t p = begin; p < end; ++p) {
      float depth = 0;
      const bool seen = Primitives<T, Footprint>::bound(scene, camera, v, p, &out.bound[v * count + p], &depth);
      keys[v * count + p] = seen && depth - depth == 0 ? depth_key(depth) : hidden_key;
    }
  });
  out.bins = make_bins(threads, scene.tiles, count, out.bound.data(), keys.data(), with_slots);
  return out;
}

// The blocks of a tile that a bound meets, bit = 8 * row + column.
inline uint64_t blocks_met(const Bound& bound, const Window& window) {
  uint64_t met = 0;
  const float x0 = static_cast<float>(window.x0), y0 = static_cast<float>(window.y0);
  Bound local = bound;
  local.x -= x0;
  local.y -= y0;
  const float reach = local.half_height + local.margin + 0.5f, side = static_cast<float>(tile_size);
  const int first_row = static_cast<int>(clamped(local.y - reach, 0.0f, side)) / block_size;
  const int end_row = std::min(blocks_across, static_cast<int>(clamped(local.y + reach, 0.0f, side)) / block_size + 1);
  for (int row = first_row; row < end_row; ++row) {
    int first, last;
    const float top = static_cast<float>(row * block_size) + 0.5f;
    if (!columns_of(local, top, top + block_size - 1, 0, tile_size - 1, &first, &last)) continue;
    first /= block_size, last /= block_size;
    met |= ((uint64_t(2) << last) - (uint64_t(1) << first)) << (blocks_across * row);
  }
  return met;
}

}  // namespace splat
}  // namespace lg
