// rasterize with interpolated attributes on CUDA, in one pass each way.
#include "parallel/gradients_cuda.h"
#include "parallel/lane_sums_cuda.h"
#include "surface/rasterize_cuda.h"

namespace lg::surface {
namespace {

// The gradients of a pixel's attributes, zero where there are none.
template <class T>
struct PixelChannels {
  T grad[max_channels];

  LG_DEVICE PixelChannels(const T* grads, int64_t channels, int64_t pixel) {
    for (int c = 0; c < max_channels; ++c) grad[c] = grads && c < channels ? grads[pixel * channels + c] : T(0);
  }
};

// A pixel's contributions to the corners of its triangle: to positions, then to attributes, channel by channel.
constexpr int pos_values = 12, corner_values = pos_values + 3 * max_channels;

template <bool Derivatives, class T>
LG_DEVICE void pixel_gradients(const Geometry<T>& geometry, const VertexAttributes<T>& vertices, const PixelSteps& step,
                               const FragmentGradients<T>& in, const PixelPlace& place, int64_t view, int64_t pixel,
                               const int64_t (&row)[3], T (&out)[corner_values]) {
  TriangleFrame<double> frame;
  frame_at(geometry, step, row, static_cast<int32_t>(place.column), static_cast<int32_t>(place.row), frame);
  const PixelChannels<T> channels(in.attributes, vertices.channels, pixel);
  const TriangleAttributes<T> corners = corner_attributes(vertices, geometry, view, row);
  const auto through_attributes = [&](const PixelPlanes<T>& p, T* grad_u, T* grad_v) {
    const PixelAttributes<T> at = clamp_attributes(p);
    for (int c = 0; c < max_channels; ++c) {
      if (c < vertices.channels) add_bary_gradient(corners, c, channels.grad[c], grad_u, grad_v);
      T of_vertex[3];
      vertex_gradients(at.u, at.v, channels.grad[c], of_vertex);
      for (int k = 0; k < 3; ++k) out[pos_values + k * max_channels + c] = of_vertex[k];
    }
  };
  pixel_gradients<Derivatives>(in, frame, pixel, through_attributes, out);
}

template <class T>
struct Gradients {
  T *pos, *attr;  // null: not wanted
  GradientSum<T> of_pos, of_attr;

  // Adds one of the values of a triangle.
  LG_DEVICE void add(const Geometry<T>& geometry, const VertexAttributes<T>& vertices, int64_t view, int32_t triangle,
                     int32_t i, T value) const {
    if (i < pos_values) {
      if (!pos) return;
      const int64_t slot = 4 * geometry.mesh.row(view, triangle, i / 4) + i % 4;
      of_pos.add(pos + slot, slot, value);
    } else {
      const int32_t corner = (i - pos_values) / max_channels, c = (i - pos_values) % max_channels;
      if (!attr || c >= vertices.channels) return;
      const int64_t slot = vertices.first(geometry, view, triangle, corner) + c;
      of_attr.add(attr + slot, slot, value);
    }
  }
};

template <class T, bool Derivatives>
__global__ void __launch_bounds__(image_block_pixels)
    backward_pixels(Geometry<T> geometry, VertexAttributes<T> vertices, PixelSteps step, FragmentGradients<T> in,
                    Gradients<T> out) {
  __shared__ LaneValues<T, corner_values> of_warp[image_block_pixels / warp_size];
  const ImageSize& image = geometry.image;
  const PixelPlace place = pixel_place(image);
  for (int64_t view = blockIdx.z; view < image.views; view += gridDim.z) {
    const int64_t pixel = image.pixel(view, place.row, place.column);
    const int32_t triangle = place.inside ? in.frag_tri[pixel] : -1;
    int64_t row[3];
    const bool seen = geometry.mesh.rows(view, triangle, row);
    if (!warp_any(seen)) continue;
    T value[corner_values] = {};
    if (seen) pixel_gradients<Derivatives>(geometry, vertices, step, in, place, view, pixel, row, value);
    const auto add = [&](int32_t theirs, int32_t i, T total) { out.add(geometry, vertices, view, theirs, i, total); };
    add_up_triangles(of_warp[threadIdx.x / warp_size], warp_match(triangle), triangle, seen, value, add);
  }
}

template <class T>
struct Backward {
  Geometry<T> geometry;
  VertexAttributes<T> vertices;
  FragmentGradients<T> in;
  T *grad_pos, *grad_attr;
  GradientSums<T> of_pos, of_attr;

  int64_t pos_places() const { return 4 * geometry.mesh.rows_in(geometry.image.views); }

  void plan(Workspace& workspace) {
    of_pos.plan(workspace);
    of_attr.plan(workspace);
  }

  void run(Queue& queue) {
    clear(queue, grad_pos, pos_places());
    clear(queue, grad_attr, vertices.places(geometry));
    of_attr.clear(queue);
    of_pos.run(queue, [&](const GradientSum<T>& sum) {
      const Gradients<T> out = {grad_pos, grad_attr, sum, of_attr.in_round(sum.round)};
      const auto kernel = in.bary_d ? backward_pixels<T, true> : backward_pixels<T, false>;
      queue.launch(kernel, image_grid(geometry.image), image_block(), geometry, vertices, PixelSteps(geometry.image),
                   in, out);
    });
    if (grad_pos) of_pos.finish(queue, 0, pos_places(), grad_pos);
    if (grad_attr) of_attr.finish(queue, 0, vertices.places(geometry), grad_attr);
  }

 private:
  static void clear(Queue& queue, T* out, int64_t count) {
    if (out) queue.fill_bytes(out, 0, count * static_cast<int64_t>(sizeof(T)));
  }
};

}  // namespace
}  // namespace lg::surface

int32_t lg_rasterize_attributes_forward(lg_call* call, int32_t dtype, const void* pos, const int32_t* tri,
                                        const int64_t* ranges, const void* attr, int64_t attr_views, int64_t channels,
                                        int64_t views, int64_t vertices, int64_t triangles, int64_t height,
                                        int64_t width, int32_t subpixel_bits, int32_t* frag_tri, void* bary,
                                        void* depth, void* bary_d, void* attributes) {
  const int32_t failure = lg::reject_views(ranges, views, triangles, height, width, lg::surface::max_resolution);
  if (failure != LG_OK) return failure;
  if (channels < 1 || channels > lg::surface::max_channels) {
    return lg::reject("attr: expected 1 to %d channels, got %lld", lg::surface::max_channels,
                      static_cast<long long>(channels));
  }
  return lg::dispatch_scalar(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const auto request = lg::surface::make_visibility_request(dtype, pos, tri, ranges, views, vertices, triangles,
                                                              height, width, subpixel_bits, nullptr, nullptr, 0);
    const auto geometry =
        lg::surface::make_geometry<T>(pos, tri, ranges != nullptr, views, vertices, triangles, height, width);
    return lg::run_op(
        call, lg::surface::Forward<T>{lg::surface::VisibilityPass(request),
                                      geometry,
                                      {static_cast<const T*>(attr), attr_views, channels},
                                      {frag_tri, static_cast<T*>(bary), static_cast<T*>(depth), static_cast<T*>(bary_d),
                                       nullptr, nullptr, static_cast<T*>(attributes)}});
  });
}

int32_t lg_rasterize_attributes_backward(lg_call* call, int32_t dtype, const void* pos, const int32_t* tri,
                                         const void* attr, int32_t shared_positions, int64_t attr_views,
                                         int64_t channels, int64_t views, int64_t vertices, int64_t triangles,
                                         int64_t height, int64_t width, const int32_t* frag_tri, const void* grad_bary,
                                         const void* grad_depth, const void* grad_bary_d, const void* grad_attributes,
                                         void* grad_pos, void* grad_attr) {
  return lg::dispatch_scalar(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const auto geometry =
        lg::surface::make_geometry<T>(pos, tri, shared_positions != 0, views, vertices, triangles, height, width);
    auto in = lg::surface::make_fragment_gradients<T>(frag_tri, grad_bary, grad_depth, grad_bary_d, nullptr, 0);
    in.attributes = static_cast<const T*>(grad_attributes);
    const bool deterministic = call->deterministic != 0;
    const lg::surface::VertexAttributes<T> attributes = {static_cast<const T*>(attr), attr_views, channels};
    // A pixel may contribute to a vertex through each corner of its triangle.
    const int64_t contributions = 3 * views * height * width;
    return lg::run_op(call, lg::surface::Backward<T>{geometry,
                                                     attributes,
                                                     in,
                                                     static_cast<T*>(grad_pos),
                                                     static_cast<T*>(grad_attr),
                                                     {deterministic, 4 * geometry.mesh.rows_in(views), contributions},
                                                     {deterministic, attributes.places(geometry), contributions}});
  });
}
