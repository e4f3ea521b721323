// interpolate on CUDA.
#include <algorithm>
#include <vector>

#include "parallel/gradients_cuda.h"
#include "parallel/lane_sums_cuda.h"
#include "parallel/with_constant.h"
#include "runtime/cuda/launch.h"
#include "surface/interpolate.h"

namespace lg::surface {
namespace {

template <class T>
struct Inputs : InterpolateInputs<T> {
  using InterpolateInputs<T>::attr, InterpolateInputs<T>::tri, InterpolateInputs<T>::fragments;
  using InterpolateInputs<T>::listed_channel, InterpolateInputs<T>::attr_views, InterpolateInputs<T>::vertices;
  using InterpolateInputs<T>::triangles;

  int64_t pixels_per_view;

  LG_DEVICE int32_t triangle(int64_t pixel) const {
    const int32_t t = fragments.triangle(pixel);
    return t < triangles ? t : -1;
  }
  LG_DEVICE int64_t channel(int64_t l) const { return listed_channel ? listed_channel[l] : l; }

  // The rows of attr for a triangle's vertices; -1: a vertex of zeros.
  LG_DEVICE int64_t row(int64_t view, int32_t triangle, int32_t corner) const {
    const int32_t index = tri[3 * static_cast<int64_t>(triangle) + corner];
    return index < 0 || index >= vertices ? -1 : (attr_views > 1 ? view * vertices : 0) + index;
  }
  LG_DEVICE void rows(int64_t view, int32_t triangle, int64_t (&out)[3]) const {
    for (int k = 0; k < 3; ++k) out[k] = row(view, triangle, k);
  }
};

// The values of one channel at a triangle's vertices, in the form that interpolate.h expects.
template <class T>
struct ChannelOfTriangle {
  T value[3];

  LG_DEVICE ChannelOfTriangle(const Inputs<T>& in, const int64_t (&row)[3], int64_t c) {
    for (int k = 0; k < 3; ++k) value[k] = row[k] < 0 ? T(0) : in.attr[row[k] * in.channels + c];
  }
  LG_DEVICE TriangleAttributes<T> attributes() const { return {{value, value + 1, value + 2}}; }
};

// ---- Forward -----------------------------------------------------------------------------------------------

// All channels of a pixel, whose number is known at compile time.
template <class T, int Channels>
__global__ void __launch_bounds__(items_per_block) forward_pixels(Inputs<T> in, T* out) {
  const int64_t pixels = in.views * in.pixels_per_view;
  for (int64_t pixel = first_item(); pixel < pixels; pixel += item_step()) {
    const int32_t triangle = in.triangle(pixel);
    T value[Channels] = {};
    if (triangle >= 0) {
      const T *bary = in.fragments.bary_at(pixel), u = bary[0], v = bary[1];
      int64_t row[3];
      in.rows(pixel / in.pixels_per_view, triangle, row);
#pragma unroll
      for (int c = 0; c < Channels; ++c) {
        value[c] = interpolate_channel(ChannelOfTriangle<T>(in, row, c).attributes(), 0, u, v);
      }
    }
#pragma unroll
    for (int c = 0; c < Channels; ++c) out[pixel * Channels + c] = value[c];
  }
}

// One channel of a pixel: neighbouring threads access neighbouring channels.
template <class T>
__global__ void __launch_bounds__(items_per_block) forward_channels(Inputs<T> in, T* out) {
  const int64_t items = in.views * in.pixels_per_view * in.channels;
  for (int64_t item = first_item(); item < items; item += item_step()) {
    const int64_t pixel = item / in.channels, c = item - pixel * in.channels;
    const int32_t triangle = in.triangle(pixel);
    T value = 0;
    if (triangle >= 0) {
      int64_t row[3];
      in.rows(pixel / in.pixels_per_view, triangle, row);
      const ChannelOfTriangle<T> attr(in, row, c);
      const T* bary = in.fragments.bary_at(pixel);
      value = interpolate_channel(attr.attributes(), 0, bary[0], bary[1]);
    }
    out[item] = value;
  }
}

template <class T>
__global__ void __launch_bounds__(items_per_block) forward_derivatives(Inputs<T> in, T* out_d) {
  const int64_t items = in.views * in.pixels_per_view * in.listed;
  for (int64_t item = first_item(); item < items; item += item_step()) {
    const int64_t pixel = item / in.listed, l = item - pixel * in.listed;
    const int32_t triangle = in.triangle(pixel);
    T value[2] = {0, 0};
    if (triangle >= 0) {
      int64_t row[3];
      in.rows(pixel / in.pixels_per_view, triangle, row);
      const ChannelOfTriangle<T> attr(in, row, in.channel(l));
      interpolate_channel_d(attr.attributes(), 0, in.bary_d + 4 * pixel, value);
    }
    out_d[2 * item] = value[0];
    out_d[2 * item + 1] = value[1];
  }
}

// ---- Backward ----------------------------------------------------------------------------------------------

// Channels whose gradients a warp sums together: three values each.
constexpr int group = 4;

// A lane of a warp whose lanes sum their contributions to the same triangle.
template <class T>
struct Lane {
  int64_t view, pixel;
  int32_t triangle;
  bool seen;
  int64_t row[3];
  uint32_t peers;
  LaneValues<T, 3 * group>& of_warp;

  // Adds the gradients of a group of channels: value[k * group + i] for corner k and channel_of(i), which is negative
  // for none.
  template <class ChannelOf>
  LG_DEVICE void add_group(const Inputs<T>& in, const GradientSum<T>& sum, T* grad_attr, const T (&value)[3 * group],
                           const ChannelOf& channel_of) const {
    add_up_triangles(of_warp, peers, triangle, seen, value, [&](int32_t theirs, int32_t i, T total) {
      const int64_t to = in.row(view, theirs, i / group), c = channel_of(i % group);
      if (to >= 0 && c >= 0) sum.add(grad_attr + to * in.channels + c, to * in.channels + c, total);
    });
  }
};

template <class T>
LG_DEVICE void backward_values(const Inputs<T>& in, const InterpolateGradients<T>& g, const GradientSum<T>& sum,
                               const Lane<T>& lane, T* grad_u, T* grad_v) {
  const T* bary = in.fragments.bary_at(lane.pixel);
  const T u = lane.seen ? bary[0] : T(0), v = lane.seen ? bary[1] : T(0);
  const bool wants_bary = g.bary || g.rast;
  for (int64_t first = 0; first < in.channels; first += group) {
    T value[3 * group];
#pragma unroll
    for (int i = 0; i < group; ++i) {
      const int64_t c = first + i;
      const bool there = lane.seen && c < in.channels;
      const T grad = there ? g.out[lane.pixel * in.channels + c] : T(0);
      if (there && wants_bary) {
        add_bary_gradient(ChannelOfTriangle<T>(in, lane.row, c).attributes(), 0, grad, grad_u, grad_v);
      }
      T of_vertex[3];
      vertex_gradients(u, v, grad, of_vertex);
#pragma unroll
      for (int k = 0; k < 3; ++k) value[k * group + i] = of_vertex[k];
    }
    if (!g.attr) continue;
    lane.add_group(in, sum, g.attr, value,
                   [&](int32_t i) { return first + i < in.channels ? first + i : int64_t{-1}; });
  }
}

template <class T>
LG_DEVICE void backward_derivatives(const Inputs<T>& in, const InterpolateGradients<T>& g, const GradientSum<T>& sum,
                                    const Lane<T>& lane, T* grad_bary_d) {
  T bary_d[4];
  for (int k = 0; k < 4; ++k) bary_d[k] = lane.seen ? in.bary_d[4 * lane.pixel + k] : T(0);
  for (int64_t first = 0; first < in.listed; first += group) {
    T value[3 * group];
#pragma unroll
    for (int i = 0; i < group; ++i) {
      const int64_t l = first + i;
      T grad[2] = {0, 0}, of_vertex[3];
      if (lane.seen && l < in.listed) {
        grad[0] = g.out_d[2 * (lane.pixel * in.listed + l)];
        grad[1] = g.out_d[2 * (lane.pixel * in.listed + l) + 1];
        if (g.bary_d) {
          add_bary_d_gradient(ChannelOfTriangle<T>(in, lane.row, in.channel(l)).attributes(), 0, grad, grad_bary_d);
        }
      }
      vertex_gradients_d(bary_d, grad, of_vertex);
#pragma unroll
      for (int k = 0; k < 3; ++k) value[k * group + i] = of_vertex[k];
    }
    if (!g.attr) continue;
    lane.add_group(in, sum, g.attr, value,
                   [&](int32_t i) { return first + i < in.listed ? in.channel(first + i) : int64_t{-1}; });
  }
}

template <class T>
__global__ void __launch_bounds__(image_block_pixels)
    backward_pixels(Inputs<T> in, InterpolateGradients<T> g, GradientSum<T> sum, ImageSize image) {
  __shared__ LaneValues<T, 3 * group> of_warp[image_block_pixels / warp_size];
  const PixelPlace place = pixel_place(image);
  for (int64_t view = blockIdx.z; view < image.views; view += gridDim.z) {
    const int64_t pixel = (view * image.height + place.row) * image.width + place.column;
    const int32_t triangle = place.inside ? in.triangle(pixel) : -1;
    if (!warp_any(place.inside)) continue;
    Lane<T> lane = {
        view, pixel, triangle, triangle >= 0, {-1, -1, -1}, warp_match(triangle), of_warp[threadIdx.x / warp_size]};
    if (lane.seen) in.rows(view, triangle, lane.row);
    T grad_bary[2] = {0, 0}, grad_bary_d[4] = {0, 0, 0, 0};
    if (g.out) backward_values(in, g, sum, lane, grad_bary, grad_bary + 1);
    if (g.out_d) backward_derivatives(in, g, sum, lane, grad_bary_d);
    if (!place.inside) continue;
    T* to = g.bary_at(pixel);
    for (int64_t k = 0; to && k < g.bary_values(); ++k) to[k] = k < 2 ? grad_bary[k] : T(0);
    for (int k = 0; g.bary_d && k < 4; ++k) g.bary_d[4 * pixel + k] = grad_bary_d[k];
  }
}

// ---- Calls -------------------------------------------------------------------------------------------------

// The list of channels on the device; none if it lists all channels in order.
class ChannelList {
 public:
  ChannelList(const int32_t* host, int64_t listed, int64_t channels) : host_(host), listed_(listed) {
    bool in_order = listed <= channels;
    for (int64_t l = 0; host && l < listed; ++l) in_order = in_order && host[l] == l;
    if (in_order) listed_ = 0;
  }
  void plan(Workspace& workspace) { device_ = listed_ ? workspace.take<uint32_t>(listed_) : nullptr; }
  const int32_t* upload(Queue& queue) const {
    if (device_) queue.upload(host_, listed_, device_);
    return reinterpret_cast<const int32_t*>(device_);
  }

 private:
  const int32_t* host_;
  int64_t listed_;
  uint32_t* device_ = nullptr;
};

// The highest number of times that one channel is listed. host: null if each is listed once.
int64_t most_listed(const int32_t* host, int64_t listed, int64_t channels) {
  std::vector<int64_t> times(static_cast<size_t>(channels), 0);
  int64_t most = 1;
  for (int64_t l = 0; host && l < listed; ++l) most = std::max(most, ++times[static_cast<size_t>(host[l])]);
  return most;
}

template <class T>
struct Forward {
  Inputs<T> in;
  ChannelList list;
  T* out;
  T* out_d;

  void plan(Workspace& workspace) { list.plan(workspace); }

  void run(Queue& queue) {
    in.listed_channel = list.upload(queue);
    const int64_t pixels = in.views * in.pixels_per_view;
    with_constant<1, 2, 3, 4>(in.channels, [&](auto channels) {
      constexpr int n = decltype(channels)::value;
      if constexpr (n > 0) {
        queue.launch_items(forward_pixels<T, n>, pixels, in, out);
      } else {
        queue.launch_items(forward_channels<T>, pixels * in.channels, in, out);
      }
    });
    if (out_d) queue.launch_items(forward_derivatives<T>, pixels * in.listed, in, out_d);
  }
};

template <class T>
struct Backward {
  Inputs<T> in;
  ChannelList list;
  InterpolateGradients<T> g;
  ImageSize image;
  GradientSums<T> sums;

  int64_t places() const { return in.attr_views * in.vertices * in.channels; }

  void plan(Workspace& workspace) {
    list.plan(workspace);
    if (g.attr) sums.plan(workspace);
  }

  void run(Queue& queue) {
    in.listed_channel = list.upload(queue);
    if (!g.attr) {
      pass(queue, GradientSum<T>{});
      return;
    }
    sums.run_whole(queue, places(), g.attr, [&](const GradientSum<T>& sum) { pass(queue, sum); });
  }

 private:
  void pass(Queue& queue, const GradientSum<T>& sum) {
    queue.launch(backward_pixels<T>, image_grid(image), image_block(), in, g, sum, image);
  }
};

}  // namespace
}  // namespace lg::surface

int32_t lg_interpolate_forward(lg_call* call, int32_t dtype, const void* attr, const int32_t* tri,
                               const int32_t* frag_tri, const void* bary, const void* bary_d, const void* rast,
                               const int32_t* channel_list, int64_t attr_views, int64_t views, int64_t vertices,
                               int64_t channels, int64_t triangles, int64_t height, int64_t width, int64_t listed,
                               void* out, void* out_d) {
  return lg::dispatch_scalar(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const lg::surface::Inputs<T> in = {
        lg::surface::make_interpolate_inputs<T>(attr, tri, frag_tri, bary, bary_d, rast, nullptr, attr_views, views,
                                                vertices, channels, triangles, listed),
        height * width};
    return lg::run_op(call, lg::surface::Forward<T>{in, lg::surface::ChannelList(channel_list, listed, channels),
                                                    static_cast<T*>(out), static_cast<T*>(out_d)});
  });
}

int32_t lg_interpolate_backward(lg_call* call, int32_t dtype, const void* attr, const int32_t* tri,
                                const int32_t* frag_tri, const void* bary, const void* bary_d, const void* rast,
                                const int32_t* channel_list, int64_t attr_views, int64_t views, int64_t vertices,
                                int64_t channels, int64_t triangles, int64_t height, int64_t width, int64_t listed,
                                const void* grad_out, const void* grad_out_d, void* grad_attr, void* grad_bary,
                                void* grad_bary_d, void* grad_rast) {
  return lg::dispatch_scalar(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const lg::surface::Inputs<T> in = {
        lg::surface::make_interpolate_inputs<T>(attr, tri, frag_tri, bary, bary_d, rast, nullptr, attr_views, views,
                                                vertices, channels, triangles, listed),
        height * width};
    const auto g =
        lg::surface::make_interpolate_gradients<T>(grad_out, grad_out_d, grad_attr, grad_bary, grad_bary_d, grad_rast);
    // A pixel may contribute to a vertex through each corner of its triangle, and through values and derivatives.
    const int64_t contributions = 6 * views * height * width * lg::surface::most_listed(channel_list, listed, channels);
    return lg::run_op(
        call, lg::surface::Backward<T>{in,
                                       lg::surface::ChannelList(channel_list, listed, channels),
                                       g,
                                       {views, height, width},
                                       {call->deterministic != 0, attr_views * vertices * channels, contributions}});
  });
}
