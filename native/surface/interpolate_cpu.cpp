// interpolate on the CPU.
#include "surface/interpolate.h"

#include <algorithm>
#include <vector>

#include "lumigrad.h"
#include "parallel/tiles.h"
#include "parallel/triangle_gradients.h"
#include "parallel/with_constant.h"
#include "runtime/status.h"
#include "runtime/stream.h"
#include "runtime/threads.h"
#include "surface/any_channels.h"
#include "surface/attribute_lookup_cpu.h"
#include "surface/few_channels.h"

namespace lg::surface {
namespace {

constexpr int64_t pixels_per_task = 8192;

// Pixels [begin, end) of a view, at most pixels_per_task of them.
template <class T>
void forward_part(const AttributeLookup<T>& in, int64_t view, int64_t begin, int64_t end, T* out, T* out_d) {
  int32_t buffer[pixels_per_task];
  const FragmentLanes<T> image = {in.fragments};
  const int32_t* ids = image.triangles(begin, end - begin, buffer);
  with_constant_for_speed<1, 2, 3, 4>(out_d ? 0 : in.channels, [&](auto channels) {
    constexpr int n = decltype(channels)::value;
    if constexpr (n > 0) {
      FewChannelsForward<n, T, AttributeLookup<T>>(in, view, image, begin, ids, out).run(end - begin);
    } else {
      forward_pixels(in, view, begin, end, ids, out, out_d);
    }
  });
}

template <class T>
void forward(int32_t threads, const AttributeLookup<T>& in, int64_t pixels, T* out, T* out_d) {
  const int64_t tasks_per_view = divide_up(pixels, pixels_per_task);
  parallel_for(threads, in.views * tasks_per_view, [&](int64_t task, int) {
    const int64_t view = task / tasks_per_view, part = task % tasks_per_view;
    const int64_t begin = view * pixels + part * pixels_per_task;
    forward_part(in, view, begin, std::min((view + 1) * pixels, begin + pixels_per_task), out, out_d);
  });
}

template <class T, int Channels>
void backward_tile_few(const AttributeLookup<T>& in, const InterpolateGradients<T>& g, const PixelTile& tile,
                       int64_t height, int64_t width, TriangleGradients<T>* records, int worker,
                       FewChannelsBackward<T, Channels>& work) {
  for (int64_t row = tile.y0; g.bary_d && row < tile.y1; ++row) {
    std::fill_n(g.bary_d + 4 * ((tile.view * height + row) * width + tile.x0), 4 * (tile.x1 - tile.x0), T(0));
  }
  const FragmentLanes<T> image = {in.fragments};
  work.begin_tile(in, tile, height, width, image);
  const bool stream = worth_streaming(static_cast<int64_t>(sizeof(T)) * in.views * height * width * g.bary_values());
  work.add_pixels(image, g, stream);
  if (!records) return;
  T* out = records->append(worker, work.count(), [&](int64_t i) { return work.triangle(static_cast<int32_t>(i)); });
  for (int32_t i = 0; i < work.count(); ++i) work.vertex_gradients(i, out + i * 3 * Channels);
}

template <class T>
void backward(int32_t threads, const AttributeLookup<T>& in, const InterpolateGradients<T>& g, int64_t height,
              int64_t width) {
  const TileGrid tiles(in.views, height, width);
  TriangleGradients<T> records(threads, tiles.count(), 3 * in.channels);
  TriangleGradients<T>* wanted = g.attr ? &records : nullptr;
  const auto for_tiles = [&](auto&& body) {
    parallel_for(threads, tiles.count(), [&](int64_t i, int worker) {
      const PixelTile tile = tiles[i];
      records.begin_chunk(i, worker, tile.view);
      body(tile, worker);
      records.end_chunk(i, worker);
    });
  };
  with_constant<1, 2, 3, 4>(g.out && !g.out_d ? in.channels : 0, [&](auto channels) {
    constexpr int n = decltype(channels)::value;
    if constexpr (n > 0) {
      std::vector<FewChannelsBackward<T, n>> work(static_cast<size_t>(std::max(1, threads)));
      for_tiles([&](const PixelTile& tile, int worker) {
        backward_tile_few<T, n>(in, g, tile, height, width, wanted, worker, work[worker]);
      });
    } else {
      for_tiles([&](const PixelTile& tile, int worker) { backward_tile(in, g, tile, height, width, wanted, worker); });
    }
  });
  if (g.attr) records.scatter(threads, in.tri, in.vertices, in.views, in.attr_views == 1, in.channels, g.attr);
}

}  // namespace
}  // namespace lg::surface

int32_t lg_interpolate_forward(lg_call* call, int32_t dtype, const void* attr, const int32_t* tri,
                               const int32_t* frag_tri, const void* bary, const void* bary_d, const void* rast,
                               const int32_t* channel_list, int64_t attr_views, int64_t views, int64_t vertices,
                               int64_t channels, int64_t triangles, int64_t height, int64_t width, int64_t listed,
                               void* out, void* out_d) {
  return lg::dispatch(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const std::vector<T> zeros(static_cast<size_t>(channels), T(0));
    const lg::surface::AttributeLookup<T> in = {
        lg::surface::make_interpolate_inputs<T>(attr, tri, frag_tri, bary, bary_d, rast, channel_list, attr_views,
                                                views, vertices, channels, triangles, listed),
        zeros.data()};
    lg::surface::forward<T>(call->threads, in, height * width, static_cast<T*>(out), static_cast<T*>(out_d));
  });
}

int32_t lg_interpolate_backward(lg_call* call, int32_t dtype, const void* attr, const int32_t* tri,
                                const int32_t* frag_tri, const void* bary, const void* bary_d, const void* rast,
                                const int32_t* channel_list, int64_t attr_views, int64_t views, int64_t vertices,
                                int64_t channels, int64_t triangles, int64_t height, int64_t width, int64_t listed,
                                const void* grad_out, const void* grad_out_d, void* grad_attr, void* grad_bary,
                                void* grad_bary_d, void* grad_rast) {
  return lg::dispatch(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const std::vector<T> zeros(static_cast<size_t>(channels), T(0));
    const lg::surface::AttributeLookup<T> in = {
        lg::surface::make_interpolate_inputs<T>(attr, tri, frag_tri, bary, bary_d, rast, channel_list, attr_views,
                                                views, vertices, channels, triangles, listed),
        zeros.data()};
    const auto g =
        lg::surface::make_interpolate_gradients<T>(grad_out, grad_out_d, grad_attr, grad_bary, grad_bary_d, grad_rast);
    lg::surface::backward<T>(call->threads, in, g, height, width);
  });
}
