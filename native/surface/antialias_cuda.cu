// antialias on CUDA.
//
// Silhouette edges are followed across the image and mark the pairs of neighbouring pixels that they pass between, one
// bit each. Warps then go through the marks, 1024 pixels at a time, and distribute the marked pixels among their lanes:
// few pixels are marked, and each is much work. Colours are gathered, forward and backward, so that only positions need
// atomics.
#include "surface/antialias.h"

#include "parallel/gradients_cuda.h"
#include "runtime/cuda/launch.h"
#include "surface/pair_marks_cuda.h"
#include "surface/silhouettes.h"

namespace lg::surface {
namespace {

// ---- Silhouettes -------------------------------------------------------------------------------------------

template <class T>
__global__ void __launch_bounds__(items_per_block)
    find_facing(const __grid_constant__ AntialiasScene<T> s, int64_t count, uint8_t* facing) {
  for (int64_t i = first_item(); i < count; i += item_step()) {
    const int64_t view = i / s.mesh.triangles, t = i - view * s.mesh.triangles;
    int64_t row[3];
    const bool valid = s.mesh.rows(view, static_cast<int32_t>(t), row);
    facing[i] = valid ? facing_flag(s.pos + 4 * row[0], s.pos + 4 * row[1], s.pos + 4 * row[2]) : 0;
  }
}

template <class T>
__global__ void __launch_bounds__(items_per_block)
    find_silhouettes(const __grid_constant__ AntialiasScene<T> s, int64_t count, const uint8_t* facing,
                     uint8_t* flags) {
  const HalfEdgeLinks links = {s.topology, 3 * s.mesh.triangles};
  for (int64_t i = first_item(); i < count; i += item_step()) {
    const int64_t view = i / s.mesh.triangles, t = i - view * s.mesh.triangles;
    const uint8_t* of_view = facing + view * s.mesh.triangles;
    flags[i] = static_cast<uint8_t>(of_view[t] | silhouettes_of(links, of_view, t));
  }
}

// ---- One pixel ---------------------------------------------------------------------------------------------

// Not inlined: it is called from several places, and is large.
template <class T>
LG_DEVICE_NOINLINE PairBlend blend_of(const AntialiasScene<T>& s, const PixelPair& pair) {
  return blend_pair(s, pair);
}

// What a pixel takes from its four neighbours. crossings: null, or where to keep those of the sides that it takes from.
template <class T>
LG_DEVICE_NOINLINE void find_weights(const AntialiasScene<T>& s, const PairMarks& marks, int64_t view, int64_t row,
                                     int64_t column, double (&weight)[4], Crossing* crossings) {
  for (int side = 0; side < 4; ++side) {
    const PixelPair pair = pair_on_side(view, row, column, side);
    weight[side] = 0;
    if (!marks.has(pair)) continue;
    const PairBlend blend = blend_of(s, pair);
    if (!blend.crossing.found() || blend.first_takes != (side == right || side == below)) continue;
    weight[side] = blend.weight;
    if (crossings) crossings[side] = blend.crossing;
  }
}

// ---- Forward -----------------------------------------------------------------------------------------------

// The colours of pixels that take nothing have been copied before.
template <class T>
__global__ void __launch_bounds__(items_per_block)
    blend_pixels(const __grid_constant__ AntialiasScene<T> s, const __grid_constant__ PairMarks marks, T* out) {
  for_marked_pixels(marks, [&](int64_t view, int64_t row, int64_t column, bool exists) {
    if (!exists) return;
    double weight[4];
    find_weights(s, marks, view, row, column, weight, nullptr);
    const int64_t pixel = s.image.pixel(view, row, column);
    blend_pixel(s, pixel, weight, out + pixel * s.channels);
  });
}

template <class T>
struct Forward {
  AntialiasScene<T> s;
  T* out;
  uint8_t* flags;
  PairMarks marks;
  uint8_t* facing = nullptr;

  // Without vertices or triangles there is nothing but background.
  bool has_mesh() const { return s.mesh.vertices > 0 && s.mesh.triangles > 0 && s.image.height * s.image.width > 0; }

  void plan(Workspace& workspace) {
    marks.bits = workspace.take<uint32_t>(marks.all_words());
    facing = workspace.take<uint8_t>(s.geometry_views() * s.mesh.triangles);
  }

  void run(Queue& queue) {
    const int64_t meshes = s.geometry_views() * s.mesh.triangles;
    queue.copy(out, s.color, s.image.pixels() * s.channels * static_cast<int64_t>(sizeof(T)));
    queue.fill_bytes(flags, 0, meshes);
    if (!has_mesh()) return;
    queue.launch_items(find_facing<T>, meshes, s, meshes, facing);
    queue.launch_items(find_silhouettes<T>, meshes, s, meshes, facing, flags);
    mark_pairs(queue, s, marks);
    queue.launch_items(blend_pixels<T>, marked_items(marks), s, marks, out);
  }
};

// ---- Backward ----------------------------------------------------------------------------------------------

template <class T>
struct Gradients {
  const T* out;
  T* color;  // null where not wanted; what is not blended has been copied from `out` before
  T* pos;
};

// The gradient of a pixel's colour: of what it keeps, and of what its neighbours take from it.
template <class T>
LG_DEVICE_NOINLINE void write_color_gradient(const AntialiasScene<T>& s, const PairMarks& marks, const Gradients<T>& g,
                                             int64_t view, int64_t row, int64_t column, const double (&weight)[4]) {
  const int64_t pixel = s.image.pixel(view, row, column);
  const double divisor = weight_divisor(weight, s.own_edges);
  T keeps = 1, gives[4] = {0, 0, 0, 0};
  for (int side = 0; side < 4; ++side) {
    keeps -= static_cast<T>(weight[side] / divisor);
    if (!marks.has(pair_on_side(view, row, column, side))) continue;
    const int64_t r = row + (side == below) - (side == above), c = column + (side == right) - (side == left);
    double theirs[4];
    find_weights(s, marks, view, r, c, theirs, nullptr);
    gives[side] = static_cast<T>(theirs[side ^ 1] / weight_divisor(theirs, s.own_edges));
  }
  for (int64_t c = 0; c < s.channels; ++c) {
    T sum = keeps * g.out[pixel * s.channels + c];
    for (int side = 0; side < 4; ++side) {
      if (gives[side] != 0) sum += gives[side] * g.out[neighbour(pixel, side, s.image.width) * s.channels + c];
    }
    g.color[pixel * s.channels + c] = sum;
  }
}

// Adds the gradients of both ends of the lanes' edges, those of one edge together. edge: 3 * triangle + number; -1:
// none. Called by all lanes of a warp.
template <class T>
LG_DEVICE void add_edge(const AntialiasScene<T>& s, int64_t view, int64_t edge, T (&value)[8],
                        const GradientSum<T>& sum, T* grad_pos) {
  if (!warp_any(edge >= 0)) return;
  const uint32_t peers = warp_match(edge);
  add_up_peers(peers, value);
  if (edge < 0 || !is_lowest(peers)) return;
  const SurfaceView<T> surface = s.surface(view);
  for (int end = 0; end < 2; ++end) {
    const int64_t vertex = surface.vertex(edge / 3, static_cast<int>(edge % 3 + 1 + end) % 3);
    const int64_t slot = 4 * (s.mesh.first_row(view) + vertex);
    for (int i = 0; i < 4; ++i) sum.add(grad_pos + slot + i, slot + i, value[4 * end + i]);
  }
}

template <class T>
__global__ void __launch_bounds__(128)
    backward_pixels(const __grid_constant__ AntialiasScene<T> s, const __grid_constant__ PairMarks marks,
                    const __grid_constant__ Gradients<T> g, const __grid_constant__ GradientSum<T> sum) {
  for_marked_pixels(marks, [&](int64_t view, int64_t row, int64_t column, bool exists) {
    Crossing crossings[4];
    double weight[4] = {0, 0, 0, 0}, grad[4] = {0, 0, 0, 0};
    if (exists) {
      find_weights(s, marks, view, row, column, weight, crossings);
      if (g.pos) weight_gradients(s, g.out, s.image.pixel(view, row, column), weight, crossings, grad);
      if (g.color) write_color_gradient(s, marks, g, view, row, column, weight);
    }
    for (int side = 0; g.pos && side < 4; ++side) {
      int64_t edge = -1;
      T value[8] = {};
      if (crossings[side].found()) {
        const PixelPair pair = pair_on_side(view, row, column, side);
        const Crossing& crossing = crossings[side];
        if (edge_gradient(s, pair, side, crossing, grad[side], value))
          edge = 3 * int64_t{crossing.triangle} + crossing.edge;
      }
      add_edge(s, view, edge, value, sum, g.pos);
    }
  });
}

template <class T>
struct Backward {
  AntialiasScene<T> s;
  Gradients<T> g;
  PairMarks marks;
  GradientSums<T> sums;

  int64_t places() const { return 4 * s.mesh.rows_in(s.image.views); }

  void plan(Workspace& workspace) {
    marks.bits = workspace.take<uint32_t>(marks.all_words());
    if (g.pos) sums.plan(workspace);
  }

  void run(Queue& queue) {
    const int64_t values = s.image.pixels() * s.channels;
    if (g.color) queue.copy(g.color, g.out, values * static_cast<int64_t>(sizeof(T)));
    if (g.pos) queue.fill_bytes(g.pos, 0, places() * static_cast<int64_t>(sizeof(T)));
    if (s.mesh.vertices == 0 || s.mesh.triangles == 0 || s.image.height * s.image.width == 0) return;
    mark_pairs(queue, s, marks);
    if (!g.pos) {
      pass(queue, GradientSum<T>{});
      return;
    }
    sums.run(queue, [&](const GradientSum<T>& sum) { pass(queue, sum); });
    sums.finish(queue, 0, places(), g.pos);
  }

 private:
  void pass(Queue& queue, const GradientSum<T>& sum) {
    const int64_t blocks = std::min(divide_up(marked_items(marks), 128), max_grid_x);
    queue.launch(backward_pixels<T>, dim3(static_cast<unsigned>(blocks)), dim3(128), s, marks, g, sum);
  }
};

}  // namespace
}  // namespace lg::surface

int32_t lg_antialias_forward(lg_call* call, int32_t dtype, const void* color, const int32_t* frag_tri,
                             const void* depth, const void* rast, const void* pos, const int32_t* tri,
                             const int32_t* topology, int32_t shared_positions, int64_t views, int64_t vertices,
                             int64_t triangles, int64_t height, int64_t width, int64_t channels, int32_t own_edges,
                             int64_t, void* out, uint8_t* notes) {
  return lg::dispatch_scalar(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const auto scene =
        lg::surface::make_antialias_scene<T>(color, frag_tri, depth, rast, pos, tri, topology, shared_positions, views,
                                             vertices, triangles, height, width, channels, own_edges, notes);
    return lg::run_op(call, lg::surface::Forward<T>{scene, static_cast<T*>(out), notes, {scene.image, nullptr}});
  });
}

int32_t lg_antialias_backward(lg_call* call, int32_t dtype, const void* color, const int32_t* frag_tri,
                              const void* depth, const void* rast, const void* pos, const int32_t* tri,
                              const int32_t* topology, const uint8_t* notes, int32_t shared_positions, int64_t views,
                              int64_t vertices, int64_t triangles, int64_t height, int64_t width, int64_t channels,
                              int32_t own_edges, int64_t, const void* grad_out, void* grad_color, void* grad_pos) {
  return lg::dispatch_scalar(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const auto scene =
        lg::surface::make_antialias_scene<T>(color, frag_tri, depth, rast, pos, tri, topology, shared_positions, views,
                                             vertices, triangles, height, width, channels, own_edges, notes);
    const int64_t slots = 4 * scene.mesh.rows_in(views);
    return lg::run_op(call, lg::surface::Backward<T>{scene,
                                                     {static_cast<const T*>(grad_out), static_cast<T*>(grad_color),
                                                      static_cast<T*>(grad_pos)},
                                                     {scene.image, nullptr},
                                                     {call->deterministic != 0, slots, 4 * scene.image.pixels()}});
  });
}
