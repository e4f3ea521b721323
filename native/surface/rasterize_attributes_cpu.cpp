// rasterize with interpolated attributes on the CPU, in one pass each way.
#include <algorithm>

#include "lumigrad.h"
#include "parallel/with_constant.h"
#include "runtime/status.h"
#include "surface/attribute_sink_cpu.h"
#include "surface/geometry.h"
#include "surface/rasterize_backward_cpu.h"
#include "surface/visibility_cpu.h"

namespace lg::surface {
namespace {

// Calls body(Constant<channels>()).
template <class Body>
void with_channels(int64_t channels, Body&& body) {
  if (!with_one_of<1, 2, 3, 4>(channels, body)) {
    throw InvalidArgument("attr: expected 1 to %d channels, got %lld", max_channels, static_cast<long long>(channels));
  }
}

template <class T>
void pull_back(int32_t threads, const Geometry<T>& geometry, const FragmentGradients<T>& in,
               const VertexAttributes<T>& attributes, const VertexGradients<T>& out) {
  if (!in.attributes) {  // no gradient reaches the attributes
    if (out.pos) backward(threads, geometry, in, out.pos);
    if (out.attr) std::fill_n(out.attr, attributes.views * attributes.vertices * attributes.channels, T(0));
    return;
  }
  with_channels(attributes.channels, [&](auto channels) {
    RasterizeBackward<T, decltype(channels)::value, false>(threads, geometry, in, attributes).run(out);
  });
}

}  // namespace
}  // namespace lg::surface

int32_t lg_rasterize_attributes_forward(lg_call* call, int32_t dtype, const void* pos, const int32_t* tri,
                                        const int64_t* ranges, const void* attr, int64_t attr_views, int64_t channels,
                                        int64_t views, int64_t vertices, int64_t triangles, int64_t height,
                                        int64_t width, int32_t subpixel_bits, int32_t* frag_tri, void* bary,
                                        void* depth, void* bary_d, void* attributes) {
  return lg::dispatch(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    lg::surface::check_resolution(height, width);
    const auto request = lg::surface::make_visibility_request(dtype, pos, tri, ranges, views, vertices, triangles,
                                                              height, width, subpixel_bits, nullptr, nullptr, 0);
    const auto geometry =
        lg::surface::make_geometry<T>(pos, tri, ranges != nullptr, views, vertices, triangles, height, width);
    const bool stream = lg::worth_streaming(static_cast<int64_t>(sizeof(T)) * views * height * width);
    lg::surface::with_channels(channels, [&](auto constant) {
      constexpr int n = decltype(constant)::value;
      lg::surface::AttributeSink<T, n> sink(
          geometry, call->threads,
          {frag_tri, static_cast<T*>(bary), static_cast<T*>(depth), static_cast<T*>(bary_d), nullptr, nullptr,
           static_cast<T*>(attributes), stream},
          {static_cast<const T*>(attr), attr_views, vertices, channels});
      lg::surface::resolve_visibility(call->threads, request, sink);
    });
  });
}

int32_t lg_rasterize_attributes_backward(lg_call* call, int32_t dtype, const void* pos, const int32_t* tri,
                                         const void* attr, int32_t shared_positions, int64_t attr_views,
                                         int64_t channels, int64_t views, int64_t vertices, int64_t triangles,
                                         int64_t height, int64_t width, const int32_t* frag_tri, const void* grad_bary,
                                         const void* grad_depth, const void* grad_bary_d, const void* grad_attributes,
                                         void* grad_pos, void* grad_attr) {
  return lg::dispatch(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const auto geometry =
        lg::surface::make_geometry<T>(pos, tri, shared_positions != 0, views, vertices, triangles, height, width);
    auto in = lg::surface::make_fragment_gradients<T>(frag_tri, grad_bary, grad_depth, grad_bary_d, nullptr, 0);
    in.attributes = static_cast<const T*>(grad_attributes);
    lg::surface::pull_back<T>(call->threads, geometry, in,
                              {static_cast<const T*>(attr), attr_views, vertices, channels},
                              {static_cast<T*>(grad_pos), static_cast<T*>(grad_attr)});
  });
}
