// interpolate on the CPU. Neighbouring pixels mostly see the same triangle, so work goes by runs.
#include "surface/interpolate.h"

#include <algorithm>
#include <type_traits>
#include <vector>

#include "lumigrad.h"
#include "math/bits.h"
#include "parallel/tiles.h"
#include "parallel/triangle_gradients.h"
#include "runtime/memory.h"
#include "runtime/status.h"
#include "runtime/stream.h"
#include "runtime/threads.h"
#include "surface/few_channels.h"

namespace lg::surface {
namespace {

template <class T>
struct Inputs {
  const T* attr;
  const int32_t* tri;
  const int32_t* frag_tri;
  const T* bary;
  const T* bary_d;
  const int32_t* listed_channel;
  int64_t attr_views, views, vertices, channels, triangles, listed;
  const T* zeros;  // one vertex worth of zeros

  TriangleAttributes<T> attributes(int64_t view, int32_t triangle) const {
    if (LG_UNLIKELY(triangle >= triangles)) {
      throw InvalidArgument("frags.tri holds triangle %d, but tri has %lld triangles", static_cast<int>(triangle),
                            static_cast<long long>(triangles));
    }
    const int32_t* index = tri + 3 * static_cast<int64_t>(triangle);
    const T* base = attr + (attr_views > 1 ? view * vertices * channels : 0);
    TriangleAttributes<T> out;
    for (int k = 0; k < 3; ++k) {
      if (LG_UNLIKELY(index[k] >= vertices)) {
        throw InvalidArgument("tri[%d, %d] is %d, but attr has %lld vertices", static_cast<int>(triangle), k,
                              static_cast<int>(index[k]), static_cast<long long>(vertices));
      }
      out.a[k] = index[k] < 0 ? zeros : base + index[k] * channels;
    }
    return out;
  }

  // Ask for what attributes() will read, the indices well before the attributes themselves.
  void prefetch_indices(int32_t triangle) const { LG_PREFETCH(tri + 3 * static_cast<int64_t>(triangle)); }
  void prefetch_attributes(int64_t view, int32_t triangle) const {
    if (LG_UNLIKELY(triangle >= triangles)) return;
    const int32_t* index = tri + 3 * static_cast<int64_t>(triangle);
    const T* base = attr + (attr_views > 1 ? view * vertices * channels : 0);
    for (int k = 0; k < 3; ++k) {
      if (LG_LIKELY(index[k] >= 0)) LG_PREFETCH(base + index[k] * channels);
    }
  }
};

template <class T>
void forward_run_d(const Inputs<T>& in, const TriangleAttributes<T>& attr, int64_t first, int64_t last, T* out_d) {
  for (int64_t i = first; i < last; ++i) {
    T* pixel = out_d + i * in.listed * 2;
    for (int64_t l = 0; l < in.listed; ++l) {
      interpolate_channel_d(attr, in.listed_channel[l], in.bary_d + 4 * i, pixel + 2 * l);
    }
  }
}

// Any number of channels, and derivatives.
template <class T>
void forward_pixels(const Inputs<T>& in, int64_t view, int64_t begin, int64_t end, T* out, T* out_d) {
  for (int64_t first = begin; first < end;) {
    const int64_t last = run_end(in.frag_tri, first, end);
    if (in.frag_tri[first] < 0) {
      std::fill_n(out + first * in.channels, (last - first) * in.channels, T(0));
      if (out_d) std::fill_n(out_d + first * in.listed * 2, (last - first) * in.listed * 2, T(0));
      first = last;
      continue;
    }
    const TriangleAttributes<T> attr = in.attributes(view, in.frag_tri[first]);
    for (int64_t i = first; i < last; ++i) {
      const T u = in.bary[2 * i], v = in.bary[2 * i + 1];
      T* LG_RESTRICT pixel = out + i * in.channels;
      for (int64_t c = 0; c < in.channels; ++c) pixel[c] = interpolate_channel(attr, c, u, v);
    }
    if (out_d) forward_run_d(in, attr, first, last, out_d);
    first = last;
  }
}

template <class T>
void forward(int32_t threads, const Inputs<T>& in, int64_t pixels, T* out, T* out_d) {
  constexpr int64_t pixels_per_task = 8192;
  const int64_t tasks_per_view = divide_up(pixels, pixels_per_task);
  parallel_for(threads, in.views * tasks_per_view, [&](int64_t task, int) {
    const int64_t view = task / tasks_per_view, part = task % tasks_per_view;
    const int64_t begin = view * pixels + part * pixels_per_task;
    const int64_t end = std::min((view + 1) * pixels, begin + pixels_per_task);
    const auto few = [&](auto channels) {
      constexpr int n = decltype(channels)::value;
      FewChannelsForward<n, T, Inputs<T>>(in, view, in.frag_tri, in.bary, out).run(begin, end);
    };
    switch (out_d ? 0 : in.channels) {
      case 1:
        return few(std::integral_constant<int, 1>());
      case 2:
        return few(std::integral_constant<int, 2>());
      case 3:
        return few(std::integral_constant<int, 3>());
      case 4:
        return few(std::integral_constant<int, 4>());
      default:
        return forward_pixels(in, view, begin, end, out, out_d);
    }
  });
}

template <class T>
struct Gradients {
  const T* out;    // [.., channels] or null
  const T* out_d;  // [.., listed, 2] or null
  T* bary;         // outputs, null where not wanted
  T* bary_d;
};

// One run of pixels that see the same triangle. sum: the record's three vertices, or null.
template <class T>
void backward_run(const Inputs<T>& in, const Gradients<T>& g, const TriangleAttributes<T>& attr, int64_t first,
                  int64_t count, T* LG_RESTRICT sum) {
  const int64_t channels = in.channels;
  for (int64_t i = first; i < first + count; ++i) {
    const T u = in.bary[2 * i], v = in.bary[2 * i + 1];
    const T* grads = g.out + i * channels;
    T grad_u = 0, grad_v = 0;
    for (int64_t c = 0; c < channels; ++c) add_bary_gradient(attr, c, grads[c], &grad_u, &grad_v);
    for (int64_t c = 0; sum && c < channels; ++c) {
      sum[c] += u * grads[c];
      sum[channels + c] += v * grads[c];
      sum[2 * channels + c] += (1 - u - v) * grads[c];
    }
    if (g.bary) {
      g.bary[2 * i] = grad_u;
      g.bary[2 * i + 1] = grad_v;
    }
  }
}

template <class T>
void backward_run_d(const Inputs<T>& in, const Gradients<T>& g, const TriangleAttributes<T>& attr, int64_t first,
                    int64_t count, T* sum) {
  for (int64_t i = first; i < first + count; ++i) {
    T grad_bary_d[4] = {0, 0, 0, 0};
    for (int64_t l = 0; l < in.listed; ++l) {
      const int64_t c = in.listed_channel[l];
      const T* grad = g.out_d + (i * in.listed + l) * 2;
      add_bary_d_gradient(attr, c, grad, grad_bary_d);
      if (sum) {
        T to_a0, to_a1;
        derivative_weights(in.bary_d + 4 * i, grad, &to_a0, &to_a1);
        sum[c] += to_a0;
        sum[in.channels + c] += to_a1;
        sum[2 * in.channels + c] -= to_a0 + to_a1;
      }
    }
    if (g.bary_d) std::copy_n(grad_bary_d, 4, g.bary_d + 4 * i);
  }
}

template <class T>
void clear_run(const Gradients<T>& g, int64_t first, int64_t count) {
  if (g.bary) std::fill_n(g.bary + 2 * first, 2 * count, T(0));
  if (g.bary_d) std::fill_n(g.bary_d + 4 * first, 4 * count, T(0));
}

template <class T>
void backward_line(const Inputs<T>& in, const Gradients<T>& g, int64_t view, int64_t begin, int64_t end,
                   TriangleGradients<T>* records, int worker) {
  for (int64_t first = begin; first < end;) {
    const int32_t triangle = in.frag_tri[first];
    const int64_t last = run_end(in.frag_tri, first, end);
    if (triangle < 0) {
      clear_run(g, first, last - first);
    } else {
      const TriangleAttributes<T> attr = in.attributes(view, triangle);
      T* sum = records ? records->values(worker, records->find(worker, triangle)) : nullptr;
      if (g.out) {
        backward_run(in, g, attr, first, last - first, sum);
      } else if (g.bary) {
        std::fill_n(g.bary + 2 * first, 2 * (last - first), T(0));
      }
      if (g.out_d) {
        backward_run_d(in, g, attr, first, last - first, sum);
      } else if (g.bary_d) {
        std::fill_n(g.bary_d + 4 * first, 4 * (last - first), T(0));
      }
    }
    first = last;
  }
}

// The tile's runs of pixels, for any number of channels and with derivatives.
template <class T>
void backward_tile(const Inputs<T>& in, const Gradients<T>& g, const PixelTile& tile, int64_t height, int64_t width,
                   TriangleGradients<T>* records, int worker) {
  for (int64_t row = tile.y0; row < tile.y1; ++row) {
    const int64_t line = (tile.view * height + row) * width;
    backward_line(in, g, tile.view, line + tile.x0, line + tile.x1, records, worker);
  }
}

template <class T, int Channels>
void backward_tile_few(const Inputs<T>& in, const Gradients<T>& g, const PixelTile& tile, int64_t height, int64_t width,
                       TriangleGradients<T>* records, int worker, FewChannelsBackward<T, Channels>& work) {
  for (int64_t row = tile.y0; g.bary_d && row < tile.y1; ++row) {
    std::fill_n(g.bary_d + 4 * ((tile.view * height + row) * width + tile.x0), 4 * (tile.x1 - tile.x0), T(0));
  }
  work.begin_tile(in, tile, height, width, in.frag_tri);
  const bool stream = worth_streaming(static_cast<int64_t>(sizeof(T)) * in.views * height * width * 2);
  work.add_pixels(in.bary, g.out, g.bary, stream);
  if (!records) return;
  T* out = records->append(worker, work.count(), [&](int64_t i) { return work.triangle(static_cast<int32_t>(i)); });
  for (int32_t i = 0; i < work.count(); ++i) work.vertex_gradients(i, out + i * 3 * Channels);
}

// Calls body(tile, worker) for all tiles, and sums what it added to records up at the vertices.
template <class T, class Body>
void for_tiles(int32_t threads, const Inputs<T>& in, TriangleGradients<T>& records, const TileGrid& tiles, T* grad_attr,
               Body&& body) {
  parallel_for(threads, tiles.count(), [&](int64_t i, int worker) {
    const PixelTile tile = tiles[i];
    records.begin_chunk(i, worker, tile.view);
    body(tile, worker);
    records.end_chunk(i, worker);
  });
  if (grad_attr) {
    records.scatter(threads, in.tri, in.vertices, in.views, in.attr_views == 1, in.channels, grad_attr);
  }
}

template <class T>
void backward(int32_t threads, const Inputs<T>& in, const Gradients<T>& g, int64_t height, int64_t width,
              T* grad_attr) {
  const TileGrid tiles(in.views, height, width);
  TriangleGradients<T> records(threads, tiles.count(), 3 * in.channels);
  TriangleGradients<T>* wanted = grad_attr ? &records : nullptr;
  const auto few = [&](auto channels) {
    constexpr int n = decltype(channels)::value;
    std::vector<FewChannelsBackward<T, n>> work(static_cast<size_t>(std::max(1, threads)));
    for_tiles(threads, in, records, tiles, grad_attr, [&](const PixelTile& tile, int worker) {
      backward_tile_few<T, n>(in, g, tile, height, width, wanted, worker, work[worker]);
    });
  };
  switch (g.out && !g.out_d ? in.channels : 0) {
    case 1:
      return few(std::integral_constant<int, 1>());
    case 2:
      return few(std::integral_constant<int, 2>());
    case 3:
      return few(std::integral_constant<int, 3>());
    case 4:
      return few(std::integral_constant<int, 4>());
    default:
      for_tiles(threads, in, records, tiles, grad_attr,
                [&](const PixelTile& tile, int worker) { backward_tile(in, g, tile, height, width, wanted, worker); });
  }
}

template <class T>
Inputs<T> make_inputs(const void* attr, const int32_t* tri, const int32_t* frag_tri, const void* bary,
                      const void* bary_d, const int32_t* channel_list, int64_t attr_views, int64_t views,
                      int64_t vertices, int64_t channels, int64_t triangles, int64_t listed, const T* zeros) {
  return {static_cast<const T*>(attr),
          tri,
          frag_tri,
          static_cast<const T*>(bary),
          static_cast<const T*>(bary_d),
          channel_list,
          attr_views,
          views,
          vertices,
          channels,
          triangles,
          listed,
          zeros};
}

}  // namespace
}  // namespace lg::surface

int32_t lg_interpolate_forward(lg_call* call, int32_t dtype, const void* attr, const int32_t* tri,
                               const int32_t* frag_tri, const void* bary, const void* bary_d,
                               const int32_t* channel_list, int64_t attr_views, int64_t views, int64_t vertices,
                               int64_t channels, int64_t triangles, int64_t height, int64_t width, int64_t listed,
                               void* out, void* out_d) {
  return lg::dispatch(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const std::vector<T> zeros(static_cast<size_t>(channels), T(0));
    const auto in = lg::surface::make_inputs<T>(attr, tri, frag_tri, bary, bary_d, channel_list, attr_views, views,
                                                vertices, channels, triangles, listed, zeros.data());
    lg::surface::forward<T>(call->threads, in, height * width, static_cast<T*>(out), static_cast<T*>(out_d));
  });
}

int32_t lg_interpolate_backward(lg_call* call, int32_t dtype, const void* attr, const int32_t* tri,
                                const int32_t* frag_tri, const void* bary, const void* bary_d,
                                const int32_t* channel_list, int64_t attr_views, int64_t views, int64_t vertices,
                                int64_t channels, int64_t triangles, int64_t height, int64_t width, int64_t listed,
                                const void* grad_out, const void* grad_out_d, void* grad_attr, void* grad_bary,
                                void* grad_bary_d) {
  return lg::dispatch(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const std::vector<T> zeros(static_cast<size_t>(channels), T(0));
    const auto in = lg::surface::make_inputs<T>(attr, tri, frag_tri, bary, bary_d, channel_list, attr_views, views,
                                                vertices, channels, triangles, listed, zeros.data());
    const lg::surface::Gradients<T> g = {static_cast<const T*>(grad_out), static_cast<const T*>(grad_out_d),
                                         static_cast<T*>(grad_bary), static_cast<T*>(grad_bary_d)};
    lg::surface::backward<T>(call->threads, in, g, height, width, static_cast<T*>(grad_attr));
  });
}
