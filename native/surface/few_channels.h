// Interpolation of up to four channels without derivatives: vertex colours, texture coordinates, normals. Sixteen
// pixels are computed side by side, channel by channel. For sums over a run of pixels, the channels of a pixel form one
// vector.
#pragma once

#include <algorithm>
#include <cstdint>

#include "math/bits.h"
#include "math/lanes.h"
#include "parallel/tile_chunks.h"
#include "parallel/triangle_numbers.h"
#include "runtime/memory.h"
#include "runtime/prefetch.h"
#include "runtime/stream.h"
#include "surface/fragment_lanes_cpu.h"
#include "surface/interpolate.h"

namespace lg::surface {

template <int Channels, class T>
LG_INLINE Lanes<T, 4> load_channels(const T* from) {
  const T zero = 0;
  return four_lanes(from[0], Channels > 1 ? from[Channels > 1] : zero, Channels > 2 ? from[2 * (Channels > 2)] : zero,
                    Channels > 3 ? from[3 * (Channels > 3)] : zero);
}

// The forward pass over pixels of a view, from `start` on. ids: their triangles. mesh: attributes(view, triangle), and
// a function that prefetches what attributes() will read.
template <int Channels, class T, class Mesh>
class FewChannelsForward {
 public:
  FewChannelsForward(const Mesh& mesh, int64_t view, const FragmentLanes<T>& image, int64_t start, const int32_t* ids,
                     T* out)
      : mesh_(mesh), view_(view), image_(image), start_(start), ids_(ids), out_(out + start * Channels) {}

  void run(int64_t end) const {
    for (int64_t first = 0; first < end;) {
      const int64_t covered = background_end(first, end);
      std::fill(out_ + first * Channels, out_ + covered * Channels, T(0));
      first = covered;
      if (first == end) return;
      prefetch(first, end);
      const int count = count_at(first, end);
      fill(first, count, seen_lanes(ids_ + first, count));
      first += count;
    }
  }

 private:
  static constexpr int64_t indices_ahead = 3 * chunk_lanes, attributes_ahead = chunk_lanes;  // pixels

  static int count_at(int64_t first, int64_t end) {
    return static_cast<int>(std::min<int64_t>(chunk_lanes, end - first));
  }

  // The end of the chunks that show no triangle.
  int64_t background_end(int64_t first, int64_t end) const {
    while (first < end && seen_lanes(ids_ + first, count_at(first, end)) == 0) first += count_at(first, end);
    return first;
  }

  // Calls use(triangle) for the runs that begin in the chunk at `first`, if the chunk is complete.
  template <class Use>
  void for_triangles(int64_t first, int64_t end, Use&& use) const {
    if (first + chunk_lanes > end) return;
    const int32_t* ids = ids_ + first;
    for (uint32_t rest = run_starts(ids, chunk_lanes) & seen_lanes(ids, chunk_lanes); rest; rest &= rest - 1) {
      use(ids[lowest_lane(rest)]);
    }
  }

  void prefetch(int64_t first, int64_t end) const {
    for_triangles(first + indices_ahead, end, [&](int32_t triangle) { mesh_.prefetch_indices(triangle); });
    for_triangles(first + attributes_ahead, end, [&](int32_t triangle) { mesh_.prefetch_attributes(view_, triangle); });
  }

  void fill(int64_t first, int count, uint32_t seen) const {
    const int32_t* ids = ids_ + first;
    Lanes<T> a[3][Channels];
    for (auto& corner : a) std::fill_n(corner, Channels, Lanes<T>(T(0)));
    for (uint32_t rest = run_starts(ids, count) & seen; rest; rest &= rest - 1) {
      const TriangleAttributes<T> attr = mesh_.attributes(view_, ids[lowest_lane(rest)]);
      const auto from_here = mask_of<T>(lanes_from_lowest(rest));
      for (int k = 0; k < 3; ++k) {
        for (int c = 0; c < Channels; ++c) a[k][c] = select(from_here, Lanes<T>(attr.a[k][c]), a[k][c]);
      }
    }
    alignas(64) T uv[2][chunk_lanes], out[Channels][chunk_lanes];
    image_.load_bary(start_ + first, count, &uv[0]);
    const Lanes<T> u = load(uv[0]), v = load(uv[1]), w = T(1) - u - v;
    const auto mask = mask_of<T>(seen);
    for (int c = 0; c < Channels; ++c) {
      store(out[c], only(mask, (u * a[0][c] + v * a[1][c]) + w * a[2][c]));
    }
    store_lanes(out, Channels, count, out_ + first * Channels);
  }

  const Mesh& mesh_;
  const int64_t view_;
  const FragmentLanes<T>& image_;
  const int64_t start_;
  const int32_t* ids_;
  T* out_;
};

// The backward pass, tile by tile. Pixels are processed sixteen at a time; whatever depends only on the triangle is
// computed once per tile.
template <class T, int Channels>
class FewChannelsBackward {
  static_assert(Channels >= 1 && Channels <= 4, "a pixel's channels fill at most one quad");

 public:
  FewChannelsBackward() {}  // does not clear `chunks_`

  // Collects the triangles of a tile. mesh: attributes(view, triangle), and a function that prefetches what
  // attributes() will read.
  template <class Mesh>
  void begin_tile(const Mesh& mesh, const PixelTile& tile, int64_t height, int64_t width,
                  const FragmentLanes<T>& image) {
    numbers_.clear();
    chunks_.number(tile, height, width, image, [&](int32_t triangle, int32_t, int32_t) {
      const int32_t before = numbers_.count(), number = numbers_.find(triangle);
      if (number == before) mesh.prefetch_indices(triangle);
      return number;
    });
    rows_.clear();
    rows_.extend(static_cast<size_t>(count()) * row_values);
    for (int32_t i = 0; i < count(); ++i) {
      if (i + attributes_ahead < count()) mesh.prefetch_attributes(tile.view, triangle(i + attributes_ahead));
      begin_row(mesh.attributes(tile.view, triangle(i)), rows_.data() + i * row_values);
    }
  }

  // Adds all pixels of the tile. stream: whether zero gradients of u and v are written past the caches.
  void add_pixels(const FragmentLanes<T>& image, const InterpolateGradients<T>& g, bool stream) {
    const auto ahead = [&](const PixelChunk& chunk) {
      prefetch_values(g.out + chunk.first * Channels, chunk.count * Channels);
      image.prefetch_bary(chunk.first, chunk.count);
    };
    chunks_.for_each(ahead, [&](const PixelChunk& chunk) {
      T* to = g.bary_at(chunk.first);
      if (chunk.seen == 0) {
        if (to) write_zeros(to, g.bary_values() * chunk.count, stream);
        return;
      }
      const T* grad = g.out + chunk.first * Channels;
      Values lanes;
      load_lanes(grad, Channels, chunk.count, &lanes.grad[0]);
      image.load_bary(chunk.first, chunk.count, &lanes.uv[0]);
      if (chunk.uniform()) {
        add_uniform(rows_.data() + chunk.numbers[0] * row_values, lanes);
      } else {
        add_runs(chunk, lanes, grad);
      }
      if (to) pull_back_bary(chunk, lanes, g.bary_values(), to);
    });
  }

  int32_t count() const { return numbers_.count(); }
  int32_t triangle(int32_t number) const { return numbers_[number]; }

  // The gradients of the attributes of a triangle's three vertices: 3 * Channels values.
  void vertex_gradients(int32_t number, T* out) const {
    const T* row = rows_.data() + number * row_values;
    for (int c = 0; c < Channels; ++c) {
      out[c] = row[sum_ug + c];
      out[Channels + c] = row[sum_vg + c];
      out[2 * Channels + c] = row[sum_g + c] - row[sum_ug + c] - row[sum_vg + c];
    }
  }

 private:
  static constexpr int32_t attributes_ahead = 8;  // triangles

  // A triangle's row: quads of a0 - a2 and a1 - a2, and the sums of g, u g and v g over its pixels.
  enum : int { to_u = 0, to_v = 4, sum_g = 8, sum_ug = 12, sum_vg = 16, row_values = 20 };

  static void begin_row(const TriangleAttributes<T>& attr, T* row) {
    const Lanes<T, 4> zero = T(0), last = load_channels<Channels>(attr.a[2]);
    store(row + to_u, load_channels<Channels>(attr.a[0]) - last);
    store(row + to_v, load_channels<Channels>(attr.a[1]) - last);
    for (const int place : {sum_g, sum_ug, sum_vg}) store(row + place, zero);
  }

  // A chunk's pixels: their gradients, channel by channel, and u and v.
  struct alignas(64) Values {
    T grad[Channels][chunk_lanes], uv[2][chunk_lanes];
  };

  // The gradients of u and v in lanes that show a triangle, zero in others. values: per pixel, 2 or 4.
  void pull_back_bary(const PixelChunk& chunk, const Values& lanes, int64_t values, T* grad_bary) const {
    Lanes<T> du[Channels], dv[Channels];
    for (int c = 0; c < Channels; ++c) du[c] = dv[c] = T(0);
    const int32_t* number = chunk.numbers;
    for (uint32_t rest = chunk.starts; rest; rest &= rest - 1, ++number) {
      const auto from_here = mask_of<T>(lanes_from_lowest(rest));
      const T* row = rows_.data() + *number * row_values;
      for (int c = 0; c < Channels; ++c) du[c] = select(from_here, Lanes<T>(row[to_u + c]), du[c]);
      for (int c = 0; c < Channels; ++c) dv[c] = select(from_here, Lanes<T>(row[to_v + c]), dv[c]);
    }
    Lanes<T> u(T(0)), v(T(0));
    for (int c = 0; c < Channels; ++c) {
      const Lanes<T> g = load(lanes.grad[c]);
      u = u + g * du[c];
      v = v + g * dv[c];
    }
    alignas(64) T sums[4][chunk_lanes];
    const auto mask = mask_of<T>(chunk.seen);
    store(sums[0], only(mask, u));
    store(sums[1], only(mask, v));
    for (int k = 2; k < 4; ++k) store(sums[k], Lanes<T>(T(0)));
    if (values == 2) {
      store_lanes(sums, 2, chunk.count, grad_bary);
    } else {
      store_lanes(sums, 4, chunk.count, grad_bary);
    }
  }

  void add_runs(const PixelChunk& chunk, const Values& lanes, const T* grad_out) {
    chunk.for_runs([&](int32_t number, int from, int to) {
      Lanes<T, 4> total = T(0), total_u = T(0), total_v = T(0);
      for (int l = from; l <= to; ++l) {
        const Lanes<T, 4> g = load_channels<Channels>(grad_out + l * Channels);
        total = total + g;
        total_u = total_u + g * lanes.uv[0][l];
        total_v = total_v + g * lanes.uv[1][l];
      }
      T* row = rows_.data() + number * row_values;
      store(row + sum_g, Lanes<T, 4>::load(row + sum_g) + total);
      store(row + sum_ug, Lanes<T, 4>::load(row + sum_ug) + total_u);
      store(row + sum_vg, Lanes<T, 4>::load(row + sum_vg) + total_v);
    });
  }

  static void add_uniform(T* row, const Values& lanes) {
    const Lanes<T> u = load(lanes.uv[0]), v = load(lanes.uv[1]);
    for (int c = 0; c < Channels; ++c) {
      const Lanes<T> g = load(lanes.grad[c]);
      row[sum_g + c] += sum(g);
      row[sum_ug + c] += sum(g * u);
      row[sum_vg + c] += sum(g * v);
    }
  }

  TileChunks chunks_;
  TriangleNumbers numbers_;
  Array<T> rows_;
};

}  // namespace lg::surface
