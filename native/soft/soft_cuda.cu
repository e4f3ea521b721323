// Soft rasterization on CUDA: a warp finds the K nearest faces of its 8 x 4 pixels, then each fragment is computed by
// its own thread. Also the backward pass.
//
// While faces are collected, a pixel's list is in shared memory or, if it is long, in place of its fragments. It holds
// depths and indices, as a heap with the last face on top. Faces have the same anchors as on the CPU and the arithmetic
// is not fused, so fragments equal those of the CPU bit for bit.
#include <limits>

#include "parallel/gradients_cuda.h"
#include "runtime/cuda/launch.h"
#include "soft/fragments.h"
#include "soft/near_faces_cuda.h"
#include "soft/vertex_gradients.h"

namespace lg::soft {
namespace {

// ---- Forward -----------------------------------------------------------------------------------------------

// The nearest faces of one pixel, ordered by depth and then by index. Once the list is full, only faces nearer than
// `limit` count, because faces come in the order of their indices. Its places in memory are Stride apart.
template <class T, int Stride>
class NearestList {
 public:
  LG_DEVICE NearestList(T* z, int32_t* face, int most) : z_(z), face_(face), most_(most) {}

  LG_DEVICE T limit() const { return limit_; }

  LG_DEVICE void insert(T z, int32_t face) {
    if (count_ < most_) {
      rise(count_++, z, face);
    } else {
      sink(most_, z, face);
    }
    if (count_ == most_) limit_ = z_[0];
  }

  // Sorts the list and writes the indices, -1 in the free places.
  LG_DEVICE void finish(int32_t* out) {
    for (int last = count_ - 1; last > 0; --last) {
      const T z = z_[last * Stride];
      const int32_t face = face_[last * Stride];
      put(last, z_[0], face_[0]);
      sink(last, z, face);
    }
    for (int k = 0; k < most_; ++k) out[k] = k < count_ ? face_[k * Stride] : -1;
  }

 private:
  LG_DEVICE static bool before(T z, int32_t face, T other_z, int32_t other_face) {
    return z < other_z || (z == other_z && face < other_face);
  }

  LG_DEVICE bool is_before(int place, T z, int32_t face) const {
    return before(z_[place * Stride], face_[place * Stride], z, face);
  }

  LG_DEVICE void put(int place, T z, int32_t face) {
    z_[place * Stride] = z;
    face_[place * Stride] = face;
  }

  // From a free place towards the top.
  LG_DEVICE void rise(int place, T z, int32_t face) {
    while (place > 0) {
      const int above = (place - 1) / 2;
      if (!is_before(above, z, face)) break;
      put(place, z_[above * Stride], face_[above * Stride]);
      place = above;
    }
    put(place, z, face);
  }

  // From the top down, among the first `count`.
  LG_DEVICE void sink(int count, T z, int32_t face) {
    int place = 0;
    for (int below = 1; below < count; below = 2 * place + 1) {
      if (below + 1 < count && is_before(below, z_[(below + 1) * Stride], face_[(below + 1) * Stride])) ++below;
      if (!before(z, face, z_[below * Stride], face_[below * Stride])) break;
      put(place, z_[below * Stride], face_[below * Stride]);
      place = below;
    }
    put(place, z, face);
  }

  T* z_;
  int32_t* face_;
  const int most_;
  int count_ = 0;
  T limit_ = std::numeric_limits<T>::infinity();
};

template <class T, class List>
LG_DEVICE void offer(const WarpFace<T>& f, int32_t flags, T blur, const WarpPixels<T>& at, List& list) {
  if (!(f.least_z < list.limit())) return;
  Place<T> place;
  locate_any(f.face, at.x, at.y, place);
  if (!place.is_near(blur)) return;
  Weights<T> weights;
  weigh_any(f.face, flags, place.line, weights);
  if (weights.valid && weights.z < list.limit()) list.insert(weights.z, f.number);
}

// The longest lists in shared memory, in the kernels for short and for other lists.
constexpr int short_list = 8;
template <class T>
constexpr int long_list = 256 / sizeof(T);

// Places: the places of a list in shared memory; 0: lists are stored in place of their fragments.
template <int Places, class T>
__global__ void __launch_bounds__(threads_per_block)
    find_nearest(Scene<T> scene, FaceBoxes boxes, int most, int64_t tile, FragmentOutputs<T> out) {
  constexpr int in_shared = Places > 0 ? Places : 1;
  __shared__ WarpFaces<T> shared[warps_per_block];
  __shared__ T shared_z[in_shared][threads_per_block];
  __shared__ int32_t shared_face[in_shared][threads_per_block];
  WarpFaces<T>& faces = shared[threadIdx.x / warp_size];
  const WarpPixels<T> at(scene, tile);
  const T blur = static_cast<T>(scene.blur);
  const auto find = [&](int64_t view, int32_t* tri, auto list) {
    for_near_faces(scene, boxes, view, at, faces, [&](const WarpFace<T>& f) { offer(f, scene.flags, blur, at, list); });
    if (at.inside) list.finish(tri);
  };
  for (int64_t view = blockIdx.z; view < scene.image.views; view += gridDim.z) {
    const int64_t first = at.inside ? at.pixel(scene, view) * most : 0;
    if constexpr (Places > 0) {
      find(view, out.tri + first,
           NearestList<T, threads_per_block>(&shared_z[0][threadIdx.x], &shared_face[0][threadIdx.x], most));
    } else {
      find(view, out.tri + first, NearestList<T, 1>(out.z + first, out.tri + first, most));
    }
  }
}

// The position of a pixel's fragment relative to the face's anchor.
struct FragmentPlace {
  int64_t view, anchor_x, anchor_y;
  int32_t column, row;  // from the anchor

  template <class T>
  LG_DEVICE FragmentPlace(const Scene<T>& scene, int64_t pixel, int64_t tile) {
    const int64_t area = scene.image.height * scene.image.width, in_view = pixel % area;
    const int64_t y = in_view / scene.image.width, x = in_view - y * scene.image.width;
    view = pixel / area;
    anchor_x = x - x % tile, anchor_y = y - y % tile;
    column = static_cast<int32_t>(x - anchor_x), row = static_cast<int32_t>(y - anchor_y);
  }
};

template <class T>
__global__ void __launch_bounds__(items_per_block)
    measure_fragments(Scene<T> scene, int64_t most, int64_t tile, int64_t count, FragmentOutputs<T> out) {
  for (int64_t i = first_item(); i < count; i += item_step()) {
    const int32_t number = out.tri[i];
    const FragmentPlace at(scene, i / most, tile);
    Face<T> face;
    if (number < 0 || !make_face_near(scene, at.view, number, at.anchor_x, at.anchor_y, face)) {
      out.write_pad(i);
      continue;
    }
    out.write(i, face, number, scene.flags, at.column, at.row, static_cast<T>(scene.viewport.step));
  }
}

template <class T>
struct Forward {
  Scene<T> scene;
  FaceBoxPass boxes;
  int64_t most;
  FragmentOutputs<T> out;

  void plan(Workspace& workspace) { boxes.plan(workspace); }
  void run(Queue& queue) {
    const FaceBoxes found = boxes.run(queue, scene, nullptr, 0);
    const int64_t tile = fragment_tile_size(most), fragments = scene.image.pixels() * most;
    const auto find = most <= short_list     ? find_nearest<short_list, T>
                      : most <= long_list<T> ? find_nearest<long_list<T>, T>
                                             : find_nearest<0, T>;
    queue.launch(find, pixel_grid(scene.image.views, scene.image.height, scene.image.width), dim3(threads_per_block),
                 scene, found, static_cast<int>(most), tile, out);
    queue.launch_items(measure_fragments<T>, fragments, scene, most, tile, fragments, out);
  }
};

// ---- Backward ----------------------------------------------------------------------------------------------

constexpr int64_t blocks_per_pixel = 16;

// The k-th fragments of neighbouring pixels mostly show the same face, so their sums are added together and one lane
// converts them to gradients of the vertices. The fragments of a pixel are distributed among the blocks of a column of
// the grid: setting up a face takes long, and the pixels of an image alone do not occupy the device.
template <class T>
__global__ void __launch_bounds__(threads_per_block)
    backward_fragments(Scene<T> scene, FragmentGradients<T> in, int64_t most, int64_t tile, GradientSum<T> sum,
                       T* grad_pos) {
  const WarpPixels<T> at(scene, tile);
  const int32_t flags = scene.flags & ~flag_cull;
  for (int64_t view = blockIdx.z; view < scene.image.views; view += gridDim.z) {
    const int64_t first = at.pixel(scene, view) * most;
    for (int64_t i = first + blockIdx.y; i < first + most; i += gridDim.y) {
      int32_t number = at.inside ? in.tri[i] : -1;
      int64_t row[3];
      FaceFrame frame;
      bool counts = number >= 0 && in.matter(i) && scene.mesh.rows(view, number, row);
      T value[all_sums] = {};
      if (counts) {
        double p[3][4];
        scene.corners(view, number, p);
        counts = make_frame(p, at.anchor_x, at.anchor_y, scene.viewport, flags, frame);
      }
      if (counts) {
        Face<T> face;
        make_face(frame, flags, face);
        in.pull_back(i, face, flags, static_cast<int32_t>(at.column - at.anchor_x),
                     static_cast<int32_t>(at.row - at.anchor_y), static_cast<T>(scene.viewport.step),
                     [&](int k, T part) { value[k] += part; });
      } else {
        number = -1;
      }
      if (!warp_any(counts)) continue;
      const uint32_t peers = warp_match(number);
      add_up_peers(peers, value);
      if (!counts || !is_lowest(peers)) continue;
      T vertex[12];
      sums_to_vertices(frame, scene.viewport, flags, value, true, vertex);
      add_to_corners(sum, grad_pos, row, vertex);
    }
  }
}

template <class T>
int32_t backward(lg_call* call, const Scene<T>& scene, const FragmentGradients<T>& in, int64_t most, T* grad_pos) {
  const ImageSize& image = scene.image;
  dim3 grid = pixel_grid(image.views, image.height, image.width);
  grid.y = static_cast<unsigned>(std::min<int64_t>(most, blocks_per_pixel));
  return run_position_gradients(call, scene.mesh.rows_in(image.views), 3 * image.pixels() * most, grad_pos,
                                [&](Queue& queue, const GradientSum<T>& sum) {
                                  queue.launch(backward_fragments<T>, grid, dim3(threads_per_block), scene, in, most,
                                               fragment_tile_size(most), sum, grad_pos);
                                });
}

}  // namespace
}  // namespace lg::soft

int32_t lg_soft_rasterize_forward(lg_call* call, int32_t dtype, const void* pos, const int32_t* tri,
                                  const int64_t* ranges, int64_t views, int64_t vertices, int64_t triangles,
                                  int64_t height, int64_t width, int64_t faces_per_pixel, double blur_radius,
                                  int32_t flags, int32_t* frag_tri, void* z, void* dist, void* bary) {
  const int32_t failure = lg::reject_views(ranges, views, triangles, height, width, lg::soft::max_resolution);
  if (failure != LG_OK) return failure;
  return lg::dispatch_scalar(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const auto scene = lg::soft::make_scene<T>(pos, tri, nullptr, ranges != nullptr, views, vertices, triangles, height,
                                               width, blur_radius, flags);
    return lg::run_op(
        call, lg::soft::Forward<T>{scene,
                                   {ranges, views, triangles, height, width},
                                   faces_per_pixel,
                                   {frag_tri, static_cast<T*>(z), static_cast<T*>(dist), static_cast<T*>(bary)}});
  });
}

int32_t lg_soft_rasterize_backward(lg_call* call, int32_t dtype, const void* pos, const int32_t* tri,
                                   int32_t shared_positions, int64_t views, int64_t vertices, int64_t triangles,
                                   int64_t height, int64_t width, int64_t faces_per_pixel, int32_t flags,
                                   const int32_t* frag_tri, const void* grad_z, const void* grad_dist,
                                   const void* grad_bary, void* grad_pos) {
  return lg::dispatch_scalar(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const auto scene = lg::soft::make_scene<T>(pos, tri, nullptr, shared_positions != 0, views, vertices, triangles,
                                               height, width, 0.0, flags);
    const auto in = lg::soft::make_fragment_gradients<T>(frag_tri, grad_z, grad_dist, grad_bary);
    return lg::soft::backward(call, scene, in, faces_per_pixel, static_cast<T*>(grad_pos));
  });
}
