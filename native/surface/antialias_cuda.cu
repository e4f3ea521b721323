// antialias on CUDA.
//
// Silhouette edges are followed across the image and mark the pairs of neighbouring pixels that they pass between, one
// bit each. How the pixels of a marked pair blend is found once and kept (pair_blends_cuda.h). Forward and backward,
// colours are gathered by warps, which go through the marks 1024 pixels at a time and distribute the marked pixels
// among their lanes. Only positions need atomics, with a thread per pair.
#include "surface/antialias.h"

#include "parallel/gradients_cuda.h"
#include "runtime/cuda/launch.h"
#include "surface/pair_blends_cuda.h"
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

// What a pixel takes from its four neighbours. crossings: null, or where to keep the crossings of the sides that it
// takes from.
template <class T>
LG_DEVICE void find_weights(const AntialiasScene<T>& s, const PairBlends& found, int64_t view, int64_t row,
                            int64_t column, double (&weight)[4], Crossing* crossings) {
#pragma unroll
  for (int side = 0; side < 4; ++side) {
    const PixelPair pair = pair_on_side(view, row, column, side);
    weight[side] = 0;
    if (!found.marks.has(pair)) continue;
    const PairBlend blend = blend_of(s, found, pair);
    if (!blend.crossing.found() || blend.first_takes != (side == right || side == below)) continue;
    weight[side] = blend.weight;
    if (crossings) crossings[side] = blend.crossing;
  }
}

// ---- Forward -----------------------------------------------------------------------------------------------

// The colours of all other pixels have already been copied.
template <class T>
__global__ void __launch_bounds__(items_per_block)
    blend_pixels(const __grid_constant__ AntialiasScene<T> s, const __grid_constant__ PairBlends found, T* out) {
  for_marked_pixels(found.marks, [&](int64_t view, int64_t row, int64_t column, bool exists) {
    if (!exists) return;
    double weight[4];
    find_weights(s, found, view, row, column, weight, nullptr);
    const int64_t pixel = s.image.pixel(view, row, column);
    blend_pixel(s, pixel, weight, out + pixel * s.channels);
  });
}

template <class T>
struct Forward {
  AntialiasScene<T> s;
  T* out;
  uint8_t* flags;
  PairBlends found;
  uint8_t* facing = nullptr;

  // Without vertices or triangles there is only background.
  bool has_mesh() const { return s.mesh.vertices > 0 && s.mesh.triangles > 0 && s.image.height * s.image.width > 0; }

  void plan(Workspace& workspace) {
    found.plan(workspace);
    facing = workspace.take<uint8_t>(s.geometry_views() * s.mesh.triangles);
  }

  void run(Queue& queue) {
    const int64_t meshes = s.geometry_views() * s.mesh.triangles;
    queue.copy(out, s.color, s.image.pixels() * s.channels * static_cast<int64_t>(sizeof(T)));
    if (!has_mesh()) {
      queue.fill_bytes(flags, 0, meshes);
      return;
    }
    found.clear(queue);
    queue.launch_items(find_facing<T>, meshes, s, meshes, facing);
    queue.launch_items(find_silhouettes<T>, meshes, s, meshes, facing, flags);
    find_blends(queue, s, found);
    queue.launch_items(blend_pixels<T>, marked_items(found.marks), s, found, out);
  }
};

// ---- Backward ----------------------------------------------------------------------------------------------

template <class T>
struct Gradients {
  const T* out;
  T* color;  // null if not wanted; pixels that are not blended have been copied from `out`
  T* pos;
};

// The gradient of a pixel's colour: from what it keeps and from what its neighbours take.
template <class T>
__global__ void __launch_bounds__(128)
    pull_colors(const __grid_constant__ AntialiasScene<T> s, const __grid_constant__ PairBlends found,
                const __grid_constant__ Gradients<T> g) {
  for_marked_pixels(found.marks, [&](int64_t view, int64_t row, int64_t column, bool exists) {
    if (!exists) return;
    double weight[4];
    find_weights(s, found, view, row, column, weight, nullptr);
    const double divisor = weight_divisor(weight, s.own_edges);
    T keeps = 1, gives[4] = {0, 0, 0, 0};
    for (int side = 0; side < 4; ++side) {
      keeps -= static_cast<T>(weight[side] / divisor);
      if (!found.marks.has(pair_on_side(view, row, column, side))) continue;
      const int64_t r = row + (side == below) - (side == above), c = column + (side == right) - (side == left);
      double theirs[4];
      find_weights(s, found, view, r, c, theirs, nullptr);
      gives[side] = static_cast<T>(theirs[side ^ 1] / weight_divisor(theirs, s.own_edges));
    }
    const int64_t pixel = s.image.pixel(view, row, column);
    for (int64_t c = 0; c < s.channels; ++c) {
      T sum = keeps * g.out[pixel * s.channels + c];
      for (int side = 0; side < 4; ++side) {
        if (gives[side] != 0) sum += gives[side] * g.out[neighbour(pixel, side, s.image.width) * s.channels + c];
      }
      g.color[pixel * s.channels + c] = sum;
    }
  });
}

// The gradients at both ends of the silhouette edge between the pixels of a marked pair. False if there are none.
template <class T>
LG_DEVICE bool pair_gradient(const AntialiasScene<T>& s, const PairBlends& found, const T* grad_out,
                             const PixelPair& pair, int64_t* edge, T (&value)[8]) {
  const PairBlend blend = blend_of(s, found, pair);
  if (!blend.crossing.found()) return false;
  const bool first = blend.first_takes;
  const int side = pair.vertical ? (first ? below : above) : (first ? right : left);
  const int64_t row = pair.row + (pair.vertical && !first), column = pair.column + (!pair.vertical && !first);
  Crossing crossings[4];
  double weight[4], grad[4];
  find_weights(s, found, pair.view, row, column, weight, crossings);
  weight_gradients(s, grad_out, s.image.pixel(pair.view, row, column), weight, crossings, grad);
  double wanted = 0;
#pragma unroll
  for (int i = 0; i < 4; ++i) wanted = i == side ? grad[i] : wanted;
  *edge = 3 * int64_t{blend.crossing.triangle} + blend.crossing.edge;
  return edge_gradient(s, pair, side, blend.crossing, wanted, value);
}

// Adds the gradients at both ends of the lanes' edges; lanes with the same edge are summed first. edge: 3 * triangle +
// number. Called by all lanes of a warp.
template <class T>
LG_DEVICE void add_edge(const AntialiasScene<T>& s, int64_t view, int64_t edge, bool exists, T (&value)[8],
                        const GradientSum<T>& sum, T* grad_pos) {
  if (!warp_any(exists)) return;
  const uint32_t peers = warp_match(exists ? edge + 3 * s.mesh.triangles * view : int64_t{-1});
  add_up_peers(peers, value);
  if (!exists || !is_lowest(peers)) return;
  const SurfaceView<T> surface = s.surface(view);
  for (int end = 0; end < 2; ++end) {
    const int64_t vertex = surface.vertex(edge / 3, static_cast<int>(edge % 3 + 1 + end) % 3);
    const int64_t slot = 4 * (s.mesh.first_row(view) + vertex);
    for (int i = 0; i < 4; ++i) sum.add(grad_pos + slot + i, slot + i, value[4 * end + i]);
  }
}

template <class T>
__global__ void __launch_bounds__(128)
    pull_positions(const __grid_constant__ AntialiasScene<T> s, const __grid_constant__ PairBlends found,
                   const __grid_constant__ Gradients<T> g, const __grid_constant__ GradientSum<T> sum) {
  __shared__ BlockPairs pairs;
  for_marked_pairs(
      found.marks, pairs, [](int64_t, BlockPairs&) {},
      [&](const PixelPair& pair, int, bool exists) {
        int64_t edge = 0;
        T value[8] = {};
        const bool moves = exists && pair_gradient(s, found, g.out, pair, &edge, value);
        add_edge(s, pair.view, edge, moves, value, sum, g.pos);
      });
}

template <class T>
struct Backward {
  AntialiasScene<T> s;
  Gradients<T> g;
  PairBlends found;
  GradientSums<T> sums;

  int64_t places() const { return 4 * s.mesh.rows_in(s.image.views); }

  void plan(Workspace& workspace) {
    found.plan(workspace);
    if (g.pos) sums.plan(workspace);
  }

  void run(Queue& queue) {
    const int64_t values = s.image.pixels() * s.channels;
    if (g.color) queue.copy(g.color, g.out, values * static_cast<int64_t>(sizeof(T)));
    if (g.pos) queue.fill_bytes(g.pos, 0, places() * static_cast<int64_t>(sizeof(T)));
    if (s.mesh.vertices == 0 || s.mesh.triangles == 0 || s.image.height * s.image.width == 0) return;
    found.clear(queue);
    find_blends(queue, s, found);
    if (g.color) {
      const int64_t blocks = std::min(divide_up(marked_items(found.marks), 128), max_grid_x);
      queue.launch(pull_colors<T>, dim3(static_cast<unsigned>(blocks)), dim3(128), s, found, g);
    }
    if (!g.pos) return;
    sums.run(queue, [&](const GradientSum<T>& sum) {
      queue.launch(pull_positions<T>, pair_blocks(found.marks), dim3(128), s, found, g, sum);
    });
    sums.finish(queue, 0, places(), g.pos);
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
    return lg::run_op(
        call, lg::surface::Forward<T>{scene, static_cast<T*>(out), notes, lg::surface::PairBlends(scene.image)});
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
                                                     lg::surface::PairBlends(scene.image),
                                                     {call->deterministic != 0, slots, 4 * scene.image.pixels()}});
  });
}
