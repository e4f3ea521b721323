// The primitives of a call on the CPU: packed, and listed by tile.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "runtime/memory.h"
#include "runtime/threads.h"
#include "splat/bins_cpu.h"
#include "splat/scene.h"

namespace lg {
namespace splat {

// Everything that tiles read of a primitive, contiguously: bound, position, shape, depth, opacity and, if there are
// few, features. Tiles visit primitives in an order that no cache foresees; reading one place instead of five halves
// the time.
template <class T>
class Rows {
 public:
  Rows() = default;
  explicit Rows(const Scene<T>& scene) {
    const int64_t geometry =
        bound_size + scene.positions.channels + scene.shapes.channels + (scene.depths.data ? 2 : 1);
    with_features_ = scene.channels <= 16;
    stride_ = geometry + (with_features_ ? scene.channels : 0);
    data_ = Buffer<T>(static_cast<size_t>(scene.tiles.views * scene.primitives * stride_));
  }

  void write(const Scene<T>& scene, int64_t v, int64_t p, const Bound& bound) {
    T* to = data_.data() + (v * scene.primitives + p) * stride_;
    std::memcpy(to, &bound, sizeof bound);
    to += bound_size;
    for (const PerPrimitive<T>* from :
         {&scene.positions, &scene.shapes, &scene.depths, &scene.opacities, &scene.features}) {
      if (!from->data || (from == &scene.features && !with_features_)) continue;
      to = std::copy_n(from->at(v, p), from->channels, to);
    }
  }

  Bound bound(int64_t i) const {
    Bound out;
    std::memcpy(&out, data_.data() + i * stride_, sizeof out);
    return out;
  }
  const T* row(int64_t i) const { return data_.data() + i * stride_; }

  // The scene, reading its primitives from here.
  Scene<T> scene(const Scene<T>& original) const {
    Scene<T> out = original;
    const T* at = data_.data() + bound_size;
    for (PerPrimitive<T>* values : {&out.positions, &out.shapes, &out.depths, &out.opacities, &out.features}) {
      if (!values->data || (values == &out.features && !with_features_)) continue;
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
  bool with_features_ = true;
};

constexpr int64_t prefetch_distance = 16;  // entries of a tile's list

template <class T>
LG_INLINE void prefetch_row(const T* row) {
  LG_PREFETCH(row);
  LG_PREFETCH(row + 16);
}

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
