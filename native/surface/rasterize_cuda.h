// Shared by the kernels of rasterize with and without vertex attributes.
//
// A pixel's planes are anchored at the pixel itself, so only their values there matter.
#pragma once

#include "runtime/cuda/launch.h"
#include "surface/attributes.h"
#include "surface/fragments.h"
#include "surface/geometry.h"
#include "surface/interpolate.h"
#include "surface/visibility_cuda.h"

namespace lg::surface {

// NDC per pixel, computed on the host because divisions of doubles are slow on the device.
struct PixelSteps {
  double x, y;

  explicit PixelSteps(const ImageSize& image)
      : x(2.0 / static_cast<double>(image.width)), y(2.0 / static_cast<double>(image.height)) {}
};

template <class T>
LG_DEVICE void frame_at(const Geometry<T>& geometry, const PixelSteps& step, const int64_t (&row)[3], int32_t x,
                        int32_t y, TriangleFrame<double>& frame) {
  double p[3][4];
  for (int k = 0; k < 3; ++k) {
    for (int c = 0; c < 4; ++c) p[k][c] = geometry.pos[4 * row[k] + c];
  }
  frame.sx = step.x;
  frame.sy = -step.y;
  frame.fx = (x + 0.5) * step.x - 1.0;
  frame.fy = 1.0 - (y + 0.5) * step.y;
  make_frame<double>(p, frame);
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

// The planes' values at their anchor.
template <class T>
LG_DEVICE PixelPlanes<T> at_anchor(const Planes<T>& planes) {
  return project(planes.at);
}

// ---- Forward -----------------------------------------------------------------------------------------------

template <class T>
struct Outputs {
  int32_t* tri;
  T *bary, *depth, *bary_d;
  float* zbuffer;
  T* rast;  // replaces bary and depth, or null
  T* attributes = nullptr;

  // A pixel's visibility key is stored in place of its bary until the pixel is shaded, so it needs no extra memory.
  LG_HD uint64_t* keys() const { return reinterpret_cast<uint64_t*>(rast ? rast : bary); }
  LG_HD int32_t key_stride() const { return static_cast<int32_t>((rast ? 4 : 2) * sizeof(T) / sizeof(uint64_t)); }
};

// Vertex attributes interpolated in the same pass: attr [views or 1, vertices, channels], at most four
// channels.
template <class T>
struct VertexAttributes {
  const T* attr = nullptr;
  int64_t views = 0, channels = 0;

  LG_HD int64_t places(const Geometry<T>& geometry) const { return views * geometry.mesh.vertices * channels; }
  // The place of the first channel of a triangle's corner.
  LG_HD int64_t first(const Geometry<T>& geometry, int64_t view, int32_t triangle, int32_t corner) const {
    const int64_t row = geometry.mesh.row(view, triangle, corner) - geometry.mesh.first_row(view);
    return ((views > 1 ? view * geometry.mesh.vertices : 0) + row) * channels;
  }
};
constexpr int max_channels = 4;

// The attributes of a triangle's corners. row: the rows of its positions.
template <class T>
LG_DEVICE TriangleAttributes<T> corner_attributes(const VertexAttributes<T>& in, const Geometry<T>& geometry,
                                                  int64_t view, const int64_t (&row)[3]) {
  const int64_t first = (in.views > 1 ? view * geometry.mesh.vertices : 0) - geometry.mesh.first_row(view);
  TriangleAttributes<T> out;
  for (int k = 0; k < 3; ++k) out.a[k] = in.attr + (first + row[k]) * in.channels;
  return out;
}

// Two or four values in one access.
template <class T>
struct alignas(2 * sizeof(T)) Pair {
  T a, b;
};
template <class T>
struct alignas(16) Quad {
  T a, b, c, d;
};

// Writes the attributes of the pixels of a warp's lanes, starting at `first`. Lanes write adjacent words instead of
// those of their own pixels, which lie apart. staged: the warp's shared memory.
template <class T>
LG_DEVICE void write_attributes(const VertexAttributes<T>& vertices, int64_t first, int64_t pixels,
                                const T (&value)[max_channels], T* staged, T* out) {
  const auto channels = static_cast<int32_t>(vertices.channels), lane = static_cast<int32_t>(lane_id());
#pragma unroll
  for (int c = 0; c < max_channels; ++c) {
    if (c < channels) staged[lane * channels + c] = value[c];
  }
  warp_barrier();
  const int64_t here = (pixels - first) * channels;
#pragma unroll
  for (int c = 0; c < max_channels; ++c) {
    const int32_t i = c * static_cast<int32_t>(warp_size) + lane;
    if (c < channels && i < here) out[first * channels + i] = staged[i];
  }
  warp_barrier();  // before the next pixels overwrite it
}

// All outputs of a pixel except its attributes, which go to `value`.
template <bool Derivatives, class T>
LG_DEVICE void shade_pixel(const Geometry<T>& geometry, const VertexAttributes<T>& vertices, const PixelSteps& step,
                           const Outputs<T>& out, int64_t pixel, T (&value)[max_channels]) {
  const uint64_t key = load_fresh(out.keys() + pixel * out.key_stride());
  const int32_t triangle = key == nothing_seen ? -1 : key_triangle(key);
  PixelAttributes<T> attributes = {0, 0, 0};
  T d[4] = {0, 0, 0, 0};
  int64_t row[3];
  const int64_t area = geometry.image.height * geometry.image.width;
  const int64_t view = pixel / area, in_view = pixel - view * area;
  if (geometry.mesh.rows(view, triangle, row)) {
    const auto y = static_cast<int32_t>(in_view / geometry.image.width);
    const auto x = static_cast<int32_t>(in_view - y * geometry.image.width);
    TriangleFrame<double> frame;
    frame_at(geometry, step, row, x, y, frame);
    const Planes<T> planes = planes_of<T>(frame);
    const PixelPlanes<T> values = at_anchor(planes);
    attributes = clamp_attributes(values);
    if constexpr (Derivatives) derivatives(planes, values, d);
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
  if constexpr (Derivatives) reinterpret_cast<Quad<T>*>(out.bary_d)[pixel] = {d[0], d[1], d[2], d[3]};
  if (out.zbuffer) out.zbuffer[pixel] = triangle < 0 ? 0.0f : key_depth(key);
}

// Derivatives: whether out.bary_d is wanted.
template <class T, bool Derivatives>
__global__ void __launch_bounds__(items_per_block)
    shade_pixels(Geometry<T> geometry, VertexAttributes<T> vertices, PixelSteps step, Outputs<T> out) {
  __shared__ T staged[items_per_block * max_channels];
  const unsigned lane = lane_id();
  T* const of_warp = staged + (threadIdx.x - lane) * max_channels;
  const int64_t pixels = geometry.image.pixels();
  for (int64_t first = first_item() - lane; first < pixels; first += item_step()) {
    T value[max_channels] = {};
    if (first + lane < pixels) shade_pixel<Derivatives>(geometry, vertices, step, out, first + lane, value);
    if (vertices.channels > 0) write_attributes(vertices, first, pixels, value, of_warp, out.attributes);
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
    const PixelSteps steps(geometry.image);
    if (out.bary_d) {
      queue.launch_items(shade_pixels<T, true>, geometry.image.pixels(), geometry, vertices, steps, out);
    } else {
      queue.launch_items(shade_pixels<T, false>, geometry.image.pixels(), geometry, vertices, steps, out);
    }
  }
};

// ---- Backward ----------------------------------------------------------------------------------------------

// vertex_gradients() for planes whose steps have no gradients. g: gradients of the planes' values.
LG_DEVICE void vertex_gradients_of_values(const TriangleFrame<double>& f, const double (&g)[4], double (&out)[3][4]) {
  const double inv = f.inverse_det;
  double gz[3], gx[3] = {0, 0, 0}, gy[3] = {0, 0, 0};
  for (int i = 0; i < 3; ++i) gz[i] = g[3] * f.at[i] * inv;
  const double grad_det = -(f.z[0] * gz[0] + f.z[1] * gz[1] + f.z[2] * gz[2]) * inv;
  for (int i = 0; i < 3; ++i) {
    const int j = (i + 1) % 3, k = (i + 2) % 3;
    const double at = (g[i] + f.z[i] * g[3]) * inv + grad_det * f.w[i];
    gx[j] += at * f.y[k];
    gy[j] -= at * f.x[k];
    gx[k] -= at * f.y[j];
    gy[k] += at * f.x[j];
  }
  for (int i = 0; i < 3; ++i) {
    out[i][0] = gx[i];
    out[i][1] = gy[i];
    out[i][2] = gz[i];
    out[i][3] = grad_det * f.at[i] - f.fx * gx[i] - f.fy * gy[i];
  }
}

// The gradients of x, y, z, w of the vertices of the triangle that one pixel shows. add(p, &gu, &gv), called with the
// pixel's planes, adds to the gradients of u and v. Derivatives: whether in.bary_d is given.
template <bool Derivatives, class T, class Add>
LG_DEVICE void pixel_gradients(const FragmentGradients<T>& in, const TriangleFrame<double>& frame, int64_t pixel,
                               const Add& add, T* out) {
  const Planes<T> planes = planes_of<T>(frame);
  const PixelPlanes<T> p = at_anchor(planes);
  const T* bary = in.bary_at(pixel);
  T gu = bary ? bary[0] : T(0), gv = bary ? bary[1] : T(0);
  add(p, &gu, &gv);
  T g[4] = {0, 0, 0, in.depth ? in.depth[pixel] : T(0)}, shared = 0;
  if (!in.straight_through) unclamp_gradients(p, &gu, &gv, &g[3]);
  double vertex[3][4];
  if constexpr (Derivatives) {
    T gdx[3], gdy[3];
    derivative_gradients(planes, p, in.bary_d + 4 * pixel, &gu, &gv, &shared, gdx, gdy);
    project_gradients(p, gu, gv, shared, g);
    const PlaneValues<double> of_planes = {
        {g[0], g[1], g[2], g[3]}, {gdx[0], gdx[1], gdx[2], 0}, {gdy[0], gdy[1], gdy[2], 0}};
    vertex_gradients(frame, of_planes, vertex);
  } else {
    project_gradients(p, gu, gv, shared, g);
    vertex_gradients_of_values(frame, {g[0], g[1], g[2], g[3]}, vertex);
  }
  for (int k = 0; k < 12; ++k) out[k] = static_cast<T>(vertex[k / 4][k % 4]);
}

}  // namespace lg::surface
