// The backward pass of interpolation for up to four channels without derivatives: vertex colours, texture
// coordinates, normals. Pixels go sixteen at a time, whatever triangles they see; what is per triangle is done
// once a tile.
#pragma once

#include <algorithm>
#include <cstdint>

#include "common/bits.h"
#include "common/memory.h"
#include "common/quad.h"
#include "common/triangle_numbers.h"
#include "interpolate/interpolate.h"

namespace lg {

template <class T, int Channels>
class FewChannels {
  static_assert(Channels >= 1 && Channels <= 4, "a pixel's channels fill at most one quad");

 public:
  static constexpr int chunk_lanes = 16;

  void begin_tile() {
    numbers_.clear();
    rows_.clear();
  }

  // One chunk: `count` pixels of a row. ids, grad_out and grad_bary (or null) start at its first pixel;
  // attributes(triangle) gives those of a triangle's vertices.
  template <class Attributes>
  void add(const int32_t* ids, const T* bary, const T* grad_out, int count, T* grad_bary, Attributes&& attributes) {
    const uint32_t seen = seen_lanes(ids, count);
    if (seen == 0) {
      if (grad_bary) std::fill_n(grad_bary, 2 * count, T(0));
    } else if (seen == 0xffffu && equal_lanes(ids, ids[0]) == 0xffffu) {
      const int32_t number = find(ids[0], attributes);
      add_uniform(rows_.data() + number * row_values, bary, grad_out, grad_bary);
    } else {
      int32_t numbers[chunk_lanes];
      for (int l = 0; l < count; ++l) numbers[l] = (seen >> l & 1) ? find(ids[l], attributes) : 0;
      add_mixed(seen, numbers, bary, grad_out, count, grad_bary);
    }
  }

  int32_t count() const { return numbers_.count(); }
  int32_t triangle(int32_t number) const { return numbers_[number]; }

  // Gradients of the attributes of a triangle's three vertices, 3 * Channels values.
  void vertex_gradients(int32_t number, T* out) const {
    const T* row = rows_.data() + number * row_values;
    for (int c = 0; c < Channels; ++c) {
      out[c] = row[sum_u + c];
      out[Channels + c] = row[sum_v + c];
      out[2 * Channels + c] = row[sum + c] - row[sum_u + c] - row[sum_v + c];
    }
  }

 private:
  // A triangle's row: quads of a0 - a2 and a1 - a2, and of the sums of g, u g and v g over its pixels.
  enum : int { to_u = 0, to_v = 4, sum = 8, sum_u = 12, sum_v = 16, row_values = 20 };

  template <class Attributes>
  int32_t find(int32_t triangle, Attributes&& attributes) {
    const int32_t before = numbers_.count(), number = numbers_.find(triangle);
    if (number == before) {
      const TriangleAttributes<T> attr = attributes(triangle);
      T* row = rows_.extend(row_values);
      std::fill_n(row, static_cast<int>(row_values), T(0));
      for (int c = 0; c < Channels; ++c) row[to_u + c] = attr.a[0][c] - attr.a[2][c];
      for (int c = 0; c < Channels; ++c) row[to_v + c] = attr.a[1][c] - attr.a[2][c];
    }
    return number;
  }

  LG_HD static Quad<T> load_channels(const T* from) {
    const T zero = 0;
    return make_quad(from[0], Channels > 1 ? from[Channels > 1] : zero, Channels > 2 ? from[2 * (Channels > 2)] : zero,
                     Channels > 3 ? from[3 * (Channels > 3)] : zero);
  }

  // What reaches u and v of each lane, channel by channel.
  struct alignas(64) Through {
    T u[chunk_lanes][4], v[chunk_lanes][4];

    void store(int count, T* LG_RESTRICT grad_bary) const {
      for (int l = 0; l < count; ++l) {
        grad_bary[2 * l] = (u[l][0] + u[l][1]) + (u[l][2] + u[l][3]);
        grad_bary[2 * l + 1] = (v[l][0] + v[l][1]) + (v[l][2] + v[l][3]);
      }
    }
  };

  void add_mixed(uint32_t seen, const int32_t* numbers, const T* bary, const T* grad_out, int count, T* grad_bary) {
    Through through = {};
    for (uint32_t rest = seen; rest; rest &= rest - 1) {
      const int l = lowest_lane(rest);
      T* row = rows_.data() + numbers[l] * row_values;
      const Quad<T> g = load_channels(grad_out + l * Channels);
      store_quad(through.u[l], g * load_quad(row + to_u));
      store_quad(through.v[l], g * load_quad(row + to_v));
      store_quad(row + sum, load_quad(row + sum) + g);
      store_quad(row + sum_u, load_quad(row + sum_u) + g * bary[2 * l]);
      store_quad(row + sum_v, load_quad(row + sum_v) + g * bary[2 * l + 1]);
    }
    if (grad_bary) through.store(count, grad_bary);
  }

  static void add_uniform(T* LG_RESTRICT row, const T* LG_RESTRICT bary, const T* LG_RESTRICT grad_out,
                          T* LG_RESTRICT grad_bary) {
    Through through;
    const Quad<T> du = load_quad(row + to_u), dv = load_quad(row + to_v);
    Quad<T> total = load_quad(row + sum), total_u = load_quad(row + sum_u), total_v = load_quad(row + sum_v);
    for (int l = 0; l < chunk_lanes; ++l) {
      const Quad<T> g = load_channels(grad_out + l * Channels);
      store_quad(through.u[l], g * du);
      store_quad(through.v[l], g * dv);
      total = total + g;
      total_u = total_u + g * bary[2 * l];
      total_v = total_v + g * bary[2 * l + 1];
    }
    store_quad(row + sum, total);
    store_quad(row + sum_u, total_u);
    store_quad(row + sum_v, total_v);
    if (grad_bary) through.store(chunk_lanes, grad_bary);
  }

  TriangleNumbers numbers_;
  Array<T> rows_;
};

}  // namespace lg
