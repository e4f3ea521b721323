// What a call of the splatting kernels is about, and its primitives as a footprint sees them.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "lumigrad.h"
#include "runtime/memory.h"
#include "runtime/threads.h"
#include "splat/binning.h"
#include "splat/footprints.h"

namespace lg {
namespace splat {

enum class Blend { alpha, softmax, normalised, nearest };

struct Settings {
  double alpha_max, alpha_min, stop, min_depth, max_depth, merge;
  int64_t limit;  // contributors per pixel, or 0 for any number
};

// Values of primitives: of every view its own, or shared by all.
template <class T>
struct PerPrimitive {
  const T* data;
  int64_t views, primitives, channels, stride;  // stride: from one primitive to the next
  LG_HD const T* at(int64_t view, int64_t p) const { return data + ((views > 1 ? view * primitives : 0) + p) * stride; }
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

  LG_HD const T* background_of(int64_t v) const { return background + (background_views > 1 ? v * channels : 0); }

  LG_HD Camera camera(int64_t v) const {
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

// What a call is about. Its gamma is the caller's to read: with CUDA it lies on the device.
template <class T>
Scene<T> make_scene(const lg_splat_scene& in) {
  const auto values = [](const void* data) { return static_cast<const T*>(data); };
  const int64_t count = in.primitives;
  Scene<T> scene{};
  scene.position = {values(in.positions), in.position_views, count, in.position_components, in.position_components};
  scene.shape = {values(in.shapes), in.shape_views, count, in.shape_components, in.shape_components};
  scene.depth = {values(in.depths), in.depth_views, count, 1, 1};
  scene.opacity = {values(in.opacities), in.opacity_views, count, 1, 1};
  scene.payload = {values(in.features), in.feature_views, count, in.channels, in.channels};
  scene.background = values(in.background);
  scene.background_views = in.background_views;
  scene.primitives = count;
  scene.channels = in.channels;
  scene.tiles = {in.views, in.height, in.width};
  scene.view = values(in.matrix);
  scene.intrinsics = values(in.intrinsics);
  scene.gamma = T(1);
  scene.settings = {in.max_alpha, in.min_alpha, in.stop, in.min_depth, in.max_depth, in.merge, in.max_contributors};
  return scene;
}

// Uniform access to primitives, whether their footprint is in the world or in pixels.
template <class T, class Footprint, bool InWorld = (Footprint::position == 3)>
struct Primitives;

template <class T, class Footprint>
struct Primitives<T, Footprint, false> {
  static LG_HD bool bound(const Scene<T>& scene, const Camera&, int64_t v, int64_t p, Bound* out, float* depth) {
    const T *xy = scene.position.at(v, p), z = *scene.depth.at(v, p), opacity = *scene.opacity.at(v, p);
    if (!std::isfinite(xy[0] + xy[1] + z + opacity)) return false;
    *depth = static_cast<float>(z);
    const T least = static_cast<T>(scene.settings.alpha_min);
    return Footprint::bound(xy, scene.shape.at(v, p), opacity, least, out);
  }
  static LG_HD typename Footprint::Item load(const Scene<T>& scene, const Camera&, int64_t v, int64_t p,
                                             const Window& window) {
    return Footprint::load(scene.position.at(v, p), scene.shape.at(v, p), *scene.depth.at(v, p), window);
  }
};

template <class T, class Footprint>
struct Primitives<T, Footprint, true> {
  static LG_HD void centre_of(const Scene<T>& scene, const Camera& camera, int64_t v, int64_t p, double* centre) {
    const T* x = scene.position.at(v, p);
    const double world[3] = {double(x[0]), double(x[1]), double(x[2])};
    to_camera(camera, world, centre);
  }
  static LG_HD bool bound(const Scene<T>& scene, const Camera& camera, int64_t v, int64_t p, Bound* out, float* depth) {
    const double radius = *scene.shape.at(v, p), opacity = *scene.opacity.at(v, p);
    double c[3];
    centre_of(scene, camera, v, p, c);
    const double front = Footprint::front(c, radius);
    if (!(radius > 0) || !(opacity > 0) || !std::isfinite(c[0] + c[1] + c[2] + radius + opacity)) return false;
    if (!(front >= scene.settings.min_depth && front <= scene.settings.max_depth && front > 0)) return false;
    *depth = static_cast<float>(front);
    return Footprint::bound(c, radius, camera, out);
  }
  static LG_HD typename Footprint::Item load(const Scene<T>& scene, const Camera& camera, int64_t v, int64_t p,
                                             const Window& window) {
    double c[3];
    centre_of(scene, camera, v, p, c);
    return Footprint::load(c, double(*scene.shape.at(v, p)), camera, window);
  }
};

// All that tiles read of a primitive, side by side: bound, position, shape, depth, opacity and, if it is short,
// payload. Tiles visit primitives in an order that no cache foresees; one place to go to instead of five is half of the
// time.
template <class T>
class Rows {
 public:
  Rows() = default;
  explicit Rows(const Scene<T>& scene) {
    const int64_t geometry = bound_size + scene.position.channels + scene.shape.channels + (scene.depth.data ? 2 : 1);
    with_payload_ = scene.channels <= 16;
    stride_ = geometry + (with_payload_ ? scene.channels : 0);
    data_ = Buffer<T>(static_cast<size_t>(scene.tiles.views * scene.primitives * stride_));
  }

  void write(const Scene<T>& scene, int64_t v, int64_t p, const Bound& bound) {
    T* to = data_.data() + (v * scene.primitives + p) * stride_;
    std::memcpy(to, &bound, sizeof bound);
    to += bound_size;
    for (const PerPrimitive<T>* from : {&scene.position, &scene.shape, &scene.depth, &scene.opacity, &scene.payload}) {
      if (!from->data || (from == &scene.payload && !with_payload_)) continue;
      to = std::copy_n(from->at(v, p), from->channels, to);
    }
  }

  Bound bound(int64_t i) const {
    Bound out;
    std::memcpy(&out, data_.data() + i * stride_, sizeof out);
    return out;
  }
  const T* row(int64_t i) const { return data_.data() + i * stride_; }

  // The scene with its primitives read from here.
  Scene<T> scene(const Scene<T>& original) const {
    Scene<T> out = original;
    const T* at = data_.data() + bound_size;
    for (PerPrimitive<T>* values : {&out.position, &out.shape, &out.depth, &out.opacity, &out.payload}) {
      if (!values->data || (values == &out.payload && !with_payload_)) continue;
      values->data = at;
      values->views = original.tiles.views;
      values->stride = stride_;
      at += values->channels;
    }
    return out;
  }

 private:
  static constexpr int64_t bound_size = sizeof(Bound) / sizeof(T);
  Buffer<T> data_;
  int64_t stride_ = 0;
  bool with_payload_ = true;
};

template <class T>
struct Binned {
  Rows<T> rows;
  Bins bins;
};

template <class T, class Footprint>
Binned<T> bin(int threads, const Scene<T>& scene, bool with_slots) {
  constexpr int64_t per_task = 4096;
  const int64_t count = scene.primitives, tasks = divide_up(count, per_task);
  Binned<T> out;
  out.rows = Rows<T>(scene);
  Buffer<Bound> bounds(scene.tiles.views * count);
  Buffer<uint32_t> keys(scene.tiles.views * count);
  parallel_for(threads, scene.tiles.views * tasks, [&](int64_t task, int) {
    const int64_t v = task / tasks, begin = task % tasks * per_task, end = std::min(count, begin + per_task);
    const Camera camera = scene.camera(v);
    for (int64_t p = begin; p < end; ++p) {
      float depth = 0;
      Bound& bound = bounds[v * count + p];
      const bool seen = Primitives<T, Footprint>::bound(scene, camera, v, p, &bound, &depth) && depth - depth == 0;
      keys[v * count + p] = seen ? depth_key(depth) : hidden_key;
      if (seen) out.rows.write(scene, v, p, bound);
    }
  });
  out.bins = make_bins(threads, scene.tiles, count, bounds.data(), keys.data(), with_slots);
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
