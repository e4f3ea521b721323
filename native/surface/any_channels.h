// Interpolation of any number of channels, with derivatives. Neighbouring pixels mostly show the same triangle, so
// pixels are processed in runs.
#pragma once

#include <algorithm>
#include <cstdint>

#include "math/bits.h"
#include "parallel/tiles.h"
#include "parallel/triangle_gradients.h"
#include "runtime/config.h"
#include "surface/attribute_lookup_cpu.h"
#include "surface/fragment_lanes_cpu.h"
#include "surface/interpolate.h"

namespace lg::surface {

template <class T>
LG_INLINE void forward_run_d(const AttributeLookup<T>& in, const TriangleAttributes<T>& attr, int64_t first,
                             int64_t last, T* out_d) {
  for (int64_t i = first; i < last; ++i) {
    T* pixel = out_d + i * in.listed * 2;
    for (int64_t l = 0; l < in.listed; ++l) {
      interpolate_channel_d(attr, in.listed_channel[l], in.bary_d + 4 * i, pixel + 2 * l);
    }
  }
}

// Pixels [begin, end) of a view. ids: their triangles.
template <class T>
void forward_pixels(const AttributeLookup<T>& in, int64_t view, int64_t begin, int64_t end, const int32_t* ids, T* out,
                    T* out_d) {
  for (int64_t first = begin; first < end;) {
    const int64_t last = begin + run_end(ids, first - begin, end - begin);
    const int32_t triangle = ids[first - begin];
    if (triangle < 0) {
      std::fill_n(out + first * in.channels, (last - first) * in.channels, T(0));
      if (out_d) std::fill_n(out_d + first * in.listed * 2, (last - first) * in.listed * 2, T(0));
      first = last;
      continue;
    }
    const TriangleAttributes<T> attr = in.attributes(view, triangle);
    for (int64_t i = first; i < last; ++i) {
      const T* bary = in.fragments.bary_at(i);
      const T u = bary[0], v = bary[1];
      T* LG_RESTRICT pixel = out + i * in.channels;
      for (int64_t c = 0; c < in.channels; ++c) pixel[c] = interpolate_channel(attr, c, u, v);
    }
    if (out_d) forward_run_d(in, attr, first, last, out_d);
    first = last;
  }
}

// One run of pixels that show the same triangle. sum: the record's three vertices, or null.
template <class T>
LG_INLINE void backward_run(const AttributeLookup<T>& in, const InterpolateGradients<T>& g,
                            const TriangleAttributes<T>& attr, int64_t first, int64_t count, T* LG_RESTRICT sum) {
  const int64_t channels = in.channels;
  for (int64_t i = first; i < first + count; ++i) {
    const T* bary = in.fragments.bary_at(i);
    const T u = bary[0], v = bary[1];
    const T* grads = g.out + i * channels;
    T grad_u = 0, grad_v = 0;
    for (int64_t c = 0; c < channels; ++c) add_bary_gradient(attr, c, grads[c], &grad_u, &grad_v);
    for (int64_t c = 0; sum && c < channels; ++c) {
      T value[3];
      vertex_gradients(u, v, grads[c], value);
      sum[c] += value[0];
      sum[channels + c] += value[1];
      sum[2 * channels + c] += value[2];
    }
    if (T* to = g.bary_at(i)) {
      to[0] = grad_u;
      to[1] = grad_v;
      for (int64_t k = 2; k < g.bary_values(); ++k) to[k] = 0;
    }
  }
}

template <class T>
LG_INLINE void backward_run_d(const AttributeLookup<T>& in, const InterpolateGradients<T>& g,
                              const TriangleAttributes<T>& attr, int64_t first, int64_t count, T* sum) {
  for (int64_t i = first; i < first + count; ++i) {
    T grad_bary_d[4] = {0, 0, 0, 0};
    for (int64_t l = 0; l < in.listed; ++l) {
      const int64_t c = in.listed_channel[l];
      const T* grad = g.out_d + (i * in.listed + l) * 2;
      add_bary_d_gradient(attr, c, grad, grad_bary_d);
      if (!sum) continue;
      T value[3];
      vertex_gradients_d(in.bary_d + 4 * i, grad, value);
      for (int k = 0; k < 3; ++k) sum[k * in.channels + c] += value[k];
    }
    if (g.bary_d) std::copy_n(grad_bary_d, 4, g.bary_d + 4 * i);
  }
}

// Part of a row of a tile.
template <class T>
LG_INLINE void backward_line(const AttributeLookup<T>& in, const InterpolateGradients<T>& g, int64_t view,
                             int64_t begin, int64_t end, TriangleGradients<T>* records, int worker) {
  int32_t buffer[usual_tile];
  const int32_t* ids = FragmentLanes<T>{in.fragments}.triangles(begin, end - begin, buffer);
  for (int64_t first = begin; first < end;) {
    const int32_t triangle = ids[first - begin];
    const int64_t last = begin + run_end(ids, first - begin, end - begin), count = last - first;
    if ((triangle < 0 || !g.out) && g.bary_at(first)) {
      std::fill_n(g.bary_at(first), g.bary_values() * count, T(0));
    }
    if ((triangle < 0 || !g.out_d) && g.bary_d) std::fill_n(g.bary_d + 4 * first, 4 * count, T(0));
    if (triangle >= 0) {
      const TriangleAttributes<T> attr = in.attributes(view, triangle);
      T* sum = records ? records->values(worker, records->find(worker, triangle)) : nullptr;
      if (g.out) backward_run(in, g, attr, first, count, sum);
      if (g.out_d) backward_run_d(in, g, attr, first, count, sum);
    }
    first = last;
  }
}

// records: null if the gradient of the attributes is not wanted.
template <class T>
void backward_tile(const AttributeLookup<T>& in, const InterpolateGradients<T>& g, const PixelTile& tile,
                   int64_t height, int64_t width, TriangleGradients<T>* records, int worker) {
  for (int64_t row = tile.y0; row < tile.y1; ++row) {
    const int64_t line = (tile.view * height + row) * width;
    backward_line(in, g, tile.view, line + tile.x0, line + tile.x1, records, worker);
  }
}

}  // namespace lg::surface
