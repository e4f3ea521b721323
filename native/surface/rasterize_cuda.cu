// rasterize on CUDA: visibility first, then attributes once per pixel; and the backward pass.
#include "parallel/gradients_cuda.h"
#include "parallel/lane_sums_cuda.h"
#include "surface/rasterize_cuda.h"

namespace lg::surface {
namespace {

template <class T, bool Derivatives>
__global__ void __launch_bounds__(image_block_pixels)
    backward_pixels(Geometry<T> geometry, PixelSteps step, FragmentGradients<T> in, GradientSum<T> sum, T* grad_pos) {
  __shared__ LaneValues<T, 12> of_warp[image_block_pixels / warp_size];
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
      frame_at(geometry, step, row, static_cast<int32_t>(place.column), static_cast<int32_t>(place.row), frame);
      pixel_gradients<Derivatives>(in, frame, pixel, [](const PixelPlanes<T>&, T*, T*) {}, value);
    }
    const auto add = [&](int32_t theirs, int32_t i, T total) {
      const int64_t slot = 4 * geometry.mesh.row(view, theirs, i / 4) + i % 4;
      sum.add(grad_pos + slot, slot, total);
    };
    add_up_triangles(of_warp[threadIdx.x / warp_size], warp_match(triangle), triangle, seen, value, add);
  }
}

template <class T>
int32_t backward(lg_call* call, const Geometry<T>& geometry, const FragmentGradients<T>& in, T* grad_pos) {
  const ImageSize& image = geometry.image;
  return run_position_gradients(call, geometry.mesh.rows_in(image.views), 3 * image.pixels(), grad_pos,
                                [&](Queue& queue, const GradientSum<T>& sum) {
                                  const auto kernel = in.bary_d ? backward_pixels<T, true> : backward_pixels<T, false>;
                                  queue.launch(kernel, image_grid(image), image_block(), geometry, PixelSteps(image),
                                               in, sum, grad_pos);
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
                                                    {},
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
