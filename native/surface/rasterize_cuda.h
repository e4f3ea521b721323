// What the kernels of rasterize share, with attributes of the vertices and without.
//
// A pixel's planes are anchored at the pixel itself, so that only their values there matter.
#pragma once

#include "runtime/cuda/launch.h"
#include "surface/attributes.h"
#include "surface/fragments.h"
#include "surface/geometry.h"
#include "surface/interpolate.h"
#include "surface/visibility_cuda.h"

namespace lg::surface {

template <class T>
LG_DEVICE void frame_at(const Geometry<T>& geometry, const int64_t (&row)[3], int32_t x, int32_t y,
                        TriangleFrame<double>& frame) {
  double p[3][4];
  for (int k = 0; k < 3; ++k) {
    for (int c = 0; c < 4; ++c) p[k][c] = geometry.pos[4 * row[k] + c];
  }
  make_frame<double>(p, x, y, geometry.image.width, geometry.image.height, frame);
}

template <class T>
LG_DEVICE Planes<T> planes_of(const TriangleFrame<double>& frame) {
  PlaneValues<double> values;
  make_planes(frame, values);
  Planes<T> planes;
  for (int k = 0; k < 4; ++k) {
    planes.at[k] = static_cast<T>(values.at[k]);
    planes.dx[k] = static_cast<T>(values.dx[k]);
    planes.dy[k] = static_cast<T>(values.dy[k]);
  }
  planes.anchor_x = planes.anchor_y = 0;
  return planes;
}

// ---- Forward -----------------------------------------------------------------------------------------------

template <class T>
struct Outputs {
  int32_t* tri;
  T *bary, *depth, *bary_d;
  float* zbuffer;
  T* rast;  // in the place of bary and depth, or null
  T* attributes = nullptr;

  // A visibility key is stored in the place of the pixel's bary until the pixel is shaded, so it needs no memory.
  LG_HD uint64_t* keys() const { return reinterpret_cast<uint64_t*>(rast ? rast : bary); }
  LG_HD int32_t key_stride() const { return static_cast<int32_t>((rast ? 4 : 2) * sizeof(T) / sizeof(uint64_t)); }
};

// Attributes of the vertices that are interpolated in the same pass: attr [views or 1, vertices, channels], at most
// four.
template <class T>
struct VertexAttributes {
  const T* attr = nullptr;
  int64_t views = 0, channels = 0;

  LG_HD int64_t places(const Geometry<T>& geometry) const { return views * geometry.mesh.vertices * channels; }
};
constexpr int max_channels = 4;

// The attributes of a triangle's corners. row: of its positions.
template <class T>
LG_DEVICE TriangleAttributes<T> corner_attributes(const VertexAttributes<T>& in, const Geometry<T>& geometry,
                                                  int64_t view, const int64_t (&row)[3]) {
  const int64_t first = (in.views > 1 ? view * geometry.mesh.vertices : 0) - geometry.mesh.first_row(view);
  TriangleAttributes<T> out;
  for (int k = 0; k < 3; ++k) out.a[k] = in.attr + (first + row[k]) * in.channels;
  return out;
}

// Two and four values in one access.
template <class T>
struct alignas(2 * sizeof(T)) Pair {
  T a, b;
};
template <class T>
struct alignas(16) Quad {
  T a, b, c, d;
};

template <class T>
__global__ void __launch_bounds__(items_per_block)
    shade_pixels(Geometry<T> geometry, VertexAttributes<T> vertices, Outputs<T> out) {
  const int64_t area = geometry.image.height * geometry.image.width;
  for (int64_t pixel = first_item(); pixel < geometry.image.pixels(); pixel += item_step()) {
    const uint64_t key = load_fresh(out.keys() + pixel * out.key_stride());
    const int32_t triangle = key == nothing_seen ? -1 : key_triangle(key);
    PixelAttributes<T> attributes = {0, 0, 0};
    T d[4] = {0, 0, 0, 0}, value[max_channels] = {};
    int64_t row[3];
    const int64_t view = pixel / area, in_view = pixel - view * area;
    if (geometry.mesh.rows(view, triangle, row)) {
      const auto y = static_cast<int32_t>(in_view / geometry.image.width);
      const auto x = static_cast<int32_t>(in_view - y * geometry.image.width);
      TriangleFrame<double> frame;
      frame_at(geometry, row, x, y, frame);
      const Planes<T> planes = planes_of<T>(frame);
      const PixelPlanes<T> values = evaluate(planes, T(0), T(0));
      attributes = clamp_attributes(values);
      if (out.bary_d) derivatives(planes, values, d);
      if (vertices.channels > 0) {
        const TriangleAttributes<T> corners = corner_attributes(vertices, geometry, view, row);
#pragma unroll
        for (int c = 0; c < max_channels; ++c) {
          if (c < vertices.channels) value[c] = interpolate_channel(corners, c, attributes.u, attributes.v);
        }
      }
    }
    out.tri[pixel] = triangle;
    if (out.rast) {
      const T number = pack_triangle<T>(triangle);
      reinterpret_cast<Quad<T>*>(out.rast)[pixel] = {attributes.u, attributes.v, attributes.depth, number};
    } else {
      reinterpret_cast<Pair<T>*>(out.bary)[pixel] = {attributes.u, attributes.v};
      out.depth[pixel] = attributes.depth;
    }
    if (out.bary_d) reinterpret_cast<Quad<T>*>(out.bary_d)[pixel] = {d[0], d[1], d[2], d[3]};
    if (out.zbuffer) out.zbuffer[pixel] = triangle < 0 ? 0.0f : key_depth(key);
#pragma unroll
    for (int c = 0; c < max_channels; ++c) {
      if (c < vertices.channels) out.attributes[pixel * vertices.channels + c] = value[c];
    }
  }
}

template <class T>
struct Forward {
  VisibilityPass visibility;
  Geometry<T> geometry;
  VertexAttributes<T> vertices;
  Outputs<T> out;

  void plan(Workspace& workspace) { visibility.plan(workspace); }
  void run(Queue& queue) {
    visibility.run(queue, out.keys(), out.key_stride());
    queue.launch_items(shade_pixels<T>, geometry.image.pixels(), geometry, vertices, out);
  }
};

// ---- Backward ----------------------------------------------------------------------------------------------

// The gradients of x, y, z, w of the vertices of the triangle that one pixel shows. add(p, &gu, &gv), with its planes,
// adds to the gradients of u and v.
template <class T, class Add>
LG_DEVICE void pixel_gradients(const FragmentGradients<T>& in, const TriangleFrame<double>& frame, int64_t pixel,
                               const Add& add, T (&out)[12]) {
  const Planes<T> planes = planes_of<T>(frame);
  const PixelPlanes<T> p = evaluate(planes, T(0), T(0));
  const T* bary = in.bary_at(pixel);
  T gu = bary ? bary[0] : T(0), gv = bary ? bary[1] : T(0);
  add(p, &gu, &gv);
  T g[4] = {0, 0, 0, in.depth ? in.depth[pixel] : T(0)}, shared = 0, gdx[3] = {0, 0, 0}, gdy[3] = {0, 0, 0};
  if (!in.straight_through) unclamp_gradients(p, &gu, &gv, &g[3]);
  if (in.bary_d) {
    derivative_gradients(planes, p, in.bary_d + 4 * pixel, &gu, &gv, &shared, gdx, gdy);
  }
  project_gradients(p, gu, gv, shared, g);
  PlaneValues<double> of_planes;
  for (int k = 0; k < 4; ++k) {
    of_planes.at[k] = g[k];
    of_planes.dx[k] = k < 3 ? gdx[k] : T(0);
    of_planes.dy[k] = k < 3 ? gdy[k] : T(0);
  }
  double vertex[3][4];
  vertex_gradients(frame, of_planes, vertex);
  for (int k = 0; k < 12; ++k) out[k] = static_cast<T>(vertex[k / 4][k % 4]);
}

}  // namespace lg::surface
