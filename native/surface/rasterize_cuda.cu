// rasterize on CUDA: visibility first, then attributes once per pixel; and the backward pass.
//
// A pixel's planes are anchored at the pixel itself, so that only their values there matter.
#include "parallel/gradients_cuda.h"
#include "runtime/cuda/launch.h"
#include "surface/attributes.h"
#include "surface/fragments.h"
#include "surface/geometry.h"
#include "surface/visibility_cuda.h"

namespace lg::surface {
namespace {

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

  // A visibility key is stored in the place of the pixel's bary until the pixel is shaded, so it needs no memory.
  LG_HD uint64_t* keys() const { return reinterpret_cast<uint64_t*>(rast ? rast : bary); }
  LG_HD int32_t key_stride() const { return static_cast<int32_t>((rast ? 4 : 2) * sizeof(T) / sizeof(uint64_t)); }
};

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
__global__ void __launch_bounds__(items_per_block) shade_pixels(Geometry<T> geometry, Outputs<T> out) {
  const int64_t area = geometry.image.height * geometry.image.width;
  for (int64_t pixel = first_item(); pixel < geometry.image.pixels(); pixel += item_step()) {
    const uint64_t key = load_fresh(out.keys() + pixel * out.key_stride());
    const int32_t triangle = key == nothing_seen ? -1 : key_triangle(key);
    PixelAttributes<T> attributes = {0, 0, 0};
    T d[4] = {0, 0, 0, 0};
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
  }
}

template <class T>
struct Forward {
  VisibilityPass visibility;
  Geometry<T> geometry;
  Outputs<T> out;

  void plan(Workspace& workspace) { visibility.plan(workspace); }
  void run(Queue& queue) {
    visibility.run(queue, out.keys(), out.key_stride());
    queue.launch_items(shade_pixels<T>, geometry.image.pixels(), geometry, out);
  }
};

// ---- Backward ----------------------------------------------------------------------------------------------

// The gradients of x, y, z, w of the vertices of the triangle that one pixel shows.
template <class T>
LG_DEVICE void pixel_gradients(const FragmentGradients<T>& in, const TriangleFrame<double>& frame, int64_t pixel,
                               T (&out)[12]) {
  const Planes<T> planes = planes_of<T>(frame);
  const PixelPlanes<T> p = evaluate(planes, T(0), T(0));
  const T* bary = in.bary_at(pixel);
  T gu = bary ? bary[0] : T(0), gv = bary ? bary[1] : T(0);
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

template <class T>
__global__ void __launch_bounds__(128)
    backward_pixels(Geometry<T> geometry, FragmentGradients<T> in, GradientSum<T> sum, T* grad_pos) {
  const ImageSize& image = geometry.image;
  const PixelPlace place = pixel_place(image);
  for (int64_t view = blockIdx.z; view < image.views; view += gridDim.z) {
    const int64_t pixel = image.pixel(view, place.row, place.column);
    const int32_t triangle = place.inside ? in.frag_tri[pixel] : -1;
    int64_t row[3];
    const bool seen = geometry.mesh.rows(view, triangle, row);
    if (!warp_any(seen)) continue;
    T value[12] = {};
    if (seen) {
      TriangleFrame<double> frame;
      frame_at(geometry, row, static_cast<int32_t>(place.column), static_cast<int32_t>(place.row), frame);
      pixel_gradients(in, frame, pixel, value);
    }
    const uint32_t peers = warp_match(triangle);
    add_up_peers(peers, value);
    if (!seen || !is_lowest(peers)) continue;
    add_to_corners(sum, grad_pos, row, value);
  }
}

template <class T>
int32_t backward(lg_call* call, const Geometry<T>& geometry, const FragmentGradients<T>& in, T* grad_pos) {
  const ImageSize& image = geometry.image;
  return run_position_gradients(call, geometry.mesh.rows_in(image.views), 3 * image.pixels(), grad_pos,
                                [&](Queue& queue, const GradientSum<T>& sum) {
                                  queue.launch(backward_pixels<T>, image_grid(image), image_block(), geometry, in, sum,
                                               grad_pos);
                                });
}

}  // namespace
}  // namespace lg::surface

int32_t lg_rasterize_forward(lg_call* call, int32_t dtype, const void* pos, const int32_t* tri, const int64_t* ranges,
                             int64_t views, int64_t vertices, int64_t triangles, int64_t height, int64_t width,
                             int32_t subpixel_bits, const int32_t* after_tri, const float* after_zbuffer,
                             int32_t drop_coincident, int32_t* frag_tri, void* bary, void* depth, void* bary_d,
                             float* zbuffer, void* rast) {
  const int32_t failure = lg::reject_views(ranges, views, triangles, height, width, lg::surface::max_resolution);
  if (failure != LG_OK) return failure;
  return lg::dispatch_scalar(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const auto request =
        lg::surface::make_visibility_request(dtype, pos, tri, ranges, views, vertices, triangles, height, width,
                                             subpixel_bits, after_tri, after_zbuffer, drop_coincident);
    const auto geometry =
        lg::surface::make_geometry<T>(pos, tri, ranges != nullptr, views, vertices, triangles, height, width);
    return lg::run_op(call, lg::surface::Forward<T>{lg::surface::VisibilityPass(request),
                                                    geometry,
                                                    {frag_tri, static_cast<T*>(bary), static_cast<T*>(depth),
                                                     static_cast<T*>(bary_d), zbuffer, static_cast<T*>(rast)}});
  });
}

int32_t lg_rasterize_backward(lg_call* call, int32_t dtype, const void* pos, const int32_t* tri,
                              int32_t shared_positions, int64_t views, int64_t vertices, int64_t triangles,
                              int64_t height, int64_t width, int32_t straight_through, const int32_t* frag_tri,
                              const void* grad_bary, const void* grad_depth, const void* grad_bary_d,
                              const void* grad_rast, void* grad_pos) {
  return lg::dispatch_scalar(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const auto geometry =
        lg::surface::make_geometry<T>(pos, tri, shared_positions != 0, views, vertices, triangles, height, width);
    const auto in = lg::surface::make_fragment_gradients<T>(frag_tri, grad_bary, grad_depth, grad_bary_d, grad_rast,
                                                            straight_through);
    return lg::surface::backward(call, geometry, in, static_cast<T*>(grad_pos));
  });
}
