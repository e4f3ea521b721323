// The position gradient of edge_gradient on CUDA: every pixel looks at the borders to the right of it and below it.
#include "parallel/gradients_cuda.h"
#include "parallel/mesh_index.h"
#include "runtime/cuda/launch.h"
#include "surface/edge_gradient.h"

namespace lg::surface {
namespace {

template <class T>
struct Scene {
  const T *color, *grad;
  const int32_t* frag_tri;
  const T *bary, *pos;
  MeshIndex mesh;
  ImageSize image;
  int64_t channels;
};

// One of two neighbouring pixels.
struct Neighbour {
  int64_t pixel, row[3];  // rows of pos
  int32_t triangle;
  BorderSide side;
};

template <class T>
LG_DEVICE void look_at(const Scene<T>& s, int64_t view, int64_t row, int64_t column, Neighbour* out) {
  out->pixel = (view * s.image.height + row) * s.image.width + column;
  out->triangle = s.frag_tri[out->pixel];
  pixel_centre(column, row, static_cast<double>(s.image.width), static_cast<double>(s.image.height), &out->side);
  out->side.surface = s.mesh.rows(view, out->triangle, out->row);
  if (!out->side.surface) return;
  out->side.triangle = screen_triangle(s.pos + 4 * out->row[0], s.pos + 4 * out->row[1], s.pos + 4 * out->row[2]);
}

// Adds the gradients of the motions of points of triangles, one a lane, to their vertices. All lanes come here.
template <class T>
LG_DEVICE void add_motion(const Scene<T>& s, const Neighbour& at, bool moves, const double* motion,
                          const GradientSum<T>& sum, T* grad_pos) {
  T value[12] = {};
  moves = moves && motion_to_corners(motion, s.bary[2 * at.pixel], s.bary[2 * at.pixel + 1], s.pos + 4 * at.row[0],
                                     s.pos + 4 * at.row[1], s.pos + 4 * at.row[2], static_cast<double>(s.image.width),
                                     static_cast<double>(s.image.height), value);
  if (!warp_any(moves)) return;
  const uint32_t peers = warp_match(moves ? at.triangle : -1);
  add_up_peers(peers, value);
  if (moves && is_lowest(peers)) add_to_corners(sum, grad_pos, at.row, value);
}

template <class T>
__global__ void __launch_bounds__(128) pull_borders(Scene<T> s, GradientSum<T> sum, T* grad_pos) {
  const PixelPlace at = pixel_place(s.image);
  const auto width = static_cast<double>(s.image.width), height = static_cast<double>(s.image.height);
  for (int64_t view = blockIdx.z; view < s.image.views; view += gridDim.z) {
    const int64_t pixel = (view * s.image.height + at.row) * s.image.width + at.column;
    for (int axis = 0; axis < 2; ++axis) {
      const int64_t row = at.row + axis, column = at.column + 1 - axis, step = axis == 0 ? 1 : s.image.width;
      double pull = 0, motion[2][3];
      if (at.inside && row < s.image.height && column < s.image.width) {
        const int32_t here = s.frag_tri[pixel], there = s.frag_tri[pixel + step];
        const bool differ = here != there && (here >= 0 || there >= 0);
        if (differ) pull = border_pull(s.color, s.grad, pixel, step, s.channels);
      }
      if (!warp_any(pull != 0)) continue;
      Neighbour pair[2];
      int moves = 0;
      if (pull != 0) {
        look_at(s, view, at.row, at.column, &pair[0]);
        look_at(s, view, row, column, &pair[1]);
        moves = border_motion(pair[0].side, pair[1].side, axis, pull, width, height, motion);
      }
      add_motion(s, pair[0], (moves & 1) != 0, motion[0], sum, grad_pos);
      add_motion(s, pair[1], (moves & 2) != 0, motion[1], sum, grad_pos);
    }
  }
}

template <class T>
struct Backward {
  Scene<T> scene;
  T* grad_pos;
  GradientSums<T> sums;

  int64_t places() const { return 4 * (scene.mesh.shared ? 1 : scene.image.views) * scene.mesh.vertices; }

  void plan(Workspace& workspace) { sums.plan(workspace); }
  void run(Queue& queue) {
    sums.run_whole(queue, places(), grad_pos, [&](const GradientSum<T>& sum) {
      queue.launch(pull_borders<T>, image_grid(scene.image), image_block(), scene, sum, grad_pos);
    });
  }
};

}  // namespace
}  // namespace lg::surface

int32_t lg_edge_gradient(lg_call* call, int32_t dtype, const void* color, const int32_t* frag_tri, const void* bary,
                         const void* pos, const int32_t* tri, int32_t shared_positions, int64_t views, int64_t vertices,
                         int64_t triangles, int64_t height, int64_t width, int64_t channels, const void* grad_out,
                         void* grad_pos) {
  return lg::dispatch_scalar(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const bool shared = shared_positions != 0;
    const lg::surface::Scene<T> scene = {static_cast<const T*>(color),
                                         static_cast<const T*>(grad_out),
                                         frag_tri,
                                         static_cast<const T*>(bary),
                                         static_cast<const T*>(pos),
                                         {tri, vertices, triangles, shared},
                                         {views, height, width},
                                         channels};
    const int64_t slots = 4 * (shared ? 1 : views) * vertices;
    // Four borders a pixel, three corners a triangle.
    return lg::run_op(
        call, lg::surface::Backward<T>{
                  scene, static_cast<T*>(grad_pos), {call->deterministic != 0, slots, 12 * views * height * width}});
  });
}
