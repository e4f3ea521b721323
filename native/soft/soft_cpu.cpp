// Soft rasterization on the CPU, which finds the K nearest faces of each pixel. Faces are binned to tiles. A tile keeps
// only the depths and indices of each pixel's nearest faces; the other outputs are computed at the end, once per
// remaining fragment.
#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include "lumigrad.h"
#include "math/bits.h"
#include "parallel/tiles.h"
#include "parallel/triangle_gradients.h"
#include "parallel/triangle_numbers.h"
#include "runtime/memory.h"
#include "runtime/status.h"
#include "runtime/threads.h"
#include "soft/bins_cpu.h"
#include "soft/fragments.h"
#include "soft/tile_cpu.h"
#include "soft/vertex_gradients.h"

namespace lg::soft {
namespace {

constexpr int64_t max_tile = 32;
constexpr int max_blocks = (max_tile / block_size) * (max_tile / block_size);

template <class T>
struct Entry {
  T z;
  int32_t face;  // its index in the tile
};

// The nearest faces of the pixels of a tile.
template <class T>
struct TileLists {
  explicit TileLists(int64_t most) : most(most), entries(max_blocks * block_lanes * most) {}

  void begin(int blocks) {
    std::fill_n(count, blocks * block_lanes, 0);
    std::fill_n(limit, blocks * block_lanes, std::numeric_limits<T>::infinity());
    std::fill_n(block_limit, blocks, std::numeric_limits<T>::infinity());
  }

  // Inserts a face before all deeper ones and after those of equal depth, which have smaller indices.
  void insert(int lane, T z, int32_t face) {
    Entry<T>* list = entries.data() + lane * most;
    int64_t place = count[lane];
    if (place == most) {
      --place;
    } else {
      ++count[lane];
    }
    for (; place > 0 && list[place - 1].z > z; --place) list[place] = list[place - 1];
    list[place] = {z, face};
    if (count[lane] == most) limit[lane] = list[most - 1].z;
  }

  void update_block(int block) {
    T deepest = limit[block * block_lanes];
    for (int l = 1; l < block_lanes; ++l) deepest = std::max(deepest, limit[block * block_lanes + l]);
    block_limit[block] = deepest;
  }

  const int64_t most;
  Buffer<Entry<T>> entries;
  alignas(64) T limit[max_blocks * block_lanes];  // only nearer faces still count
  alignas(64) int32_t count[max_blocks * block_lanes];
  alignas(64) int32_t nearest[max_blocks * block_lanes];  // the only entry if `most` is 1
  T block_limit[max_blocks];
};

template <class T>
struct Work {
  explicit Work(int64_t most) : lists(most) {}
  TileLists<T> lists;
  Array<TileFace<T>> faces;
};

template <class T>
class Forward {
 public:
  Forward(const Scene<T>& scene, int64_t most, const FragmentOutputs<T>& out)
      : scene_(scene),
        most_(most),
        out_(out),
        size_(fragment_tile_size(most)),
        step_(static_cast<T>(scene.viewport.step)),
        blur_(static_cast<T>(scene.blur)),
        reach_(static_cast<T>(std::sqrt(scene.blur))),
        clip_((scene.flags & flag_clip) != 0) {}

  void run(int32_t threads) {
    std::vector<Work<T>> work;
    for (int i = 0; i < std::max(1, threads); ++i) work.emplace_back(most_);
    for_tiles(scene_, threads, size_,
              [&](int64_t, const PixelTile& tile, const int32_t* face, const int32_t* end, int worker) {
                draw_tile(tile, face, end, work[worker]);
              });
  }

 private:
  void draw_tile(const PixelTile& tile, const int32_t* face, const int32_t* end, Work<T>& work) const {
    const auto across = static_cast<int>(size_ / block_size);
    work.lists.begin(across * across);
    work.faces.clear();
    FaceFrame frame;
    for (; face < end; ++face) {
      TileFace<T> tile_face;
      if (!make_tile_face(scene_, tile, *face, frame, tile_face)) continue;
      const auto number = static_cast<int32_t>(work.faces.size());
      work.faces.push_back(tile_face);
      for_blocks(tile_face.face, tile_face.box, step_, reach_, across, [&](int block, int32_t column, int32_t row) {
        if (tile_face.least_z >= work.lists.block_limit[block]) return;
        if (tile_face.face.edges == 3) {
          clip_ ? add<3, true>(tile_face, number, block, column, row, work.lists)
                : add<3, false>(tile_face, number, block, column, row, work.lists);
        } else {
          clip_ ? add<4, true>(tile_face, number, block, column, row, work.lists)
                : add<4, false>(tile_face, number, block, column, row, work.lists);
        }
      });
    }
    write_tile(tile, work);
  }

  template <int Edges, bool Clip>
  LG_HD void add(const TileFace<T>& tile_face, int32_t number, int block, int32_t column, int32_t row,
                 TileLists<T>& lists) const {
    const Face<T> face = tile_face.face;
    const int first = block * block_lanes;
    T* limit = lists.limit + first;
    alignas(64) T z[block_lanes];
    alignas(64) int32_t keep[block_lanes];
    const T step = step_, blur = blur_;
    LG_VECTORIZE
    for (int l = 0; l < block_lanes; ++l) {
      const T x = T(column + Offsets::block_x[l]) * step, y = -T(row + Offsets::block_y[l]) * step;
      Place<T> at;
      locate<Edges>(face, x, y, at);
      Weights<T> weights;
      weigh<Clip>(face, at.line, weights);
      const bool near = at.is_near(blur);
      z[l] = weights.z;
      keep[l] = near & weights.valid & (weights.z < limit[l]);
    }
    uint32_t mask = equal_lanes(keep, 1);
    if (!mask) return;
    if (most_ == 1) {
      int32_t* nearest = lists.nearest + first;
      int32_t* count = lists.count + first;
      for (int l = 0; l < block_lanes; ++l) {
        limit[l] = keep[l] ? z[l] : limit[l];
        nearest[l] = keep[l] ? number : nearest[l];
        count[l] |= keep[l];
      }
      return lists.update_block(block);
    }
    bool full = false;
    for (; mask; mask &= mask - 1) {
      const int l = lowest_lane(mask);
      lists.insert(first + l, z[l], number);
      full |= lists.count[first + l] == most_;
    }
    if (full) lists.update_block(block);
  }

  void write_tile(const PixelTile& tile, const Work<T>& work) const {
    const auto across = static_cast<int>(size_ / block_size);
    for (int64_t row = tile.y0; row < tile.y1; ++row) {
      const auto y = static_cast<int32_t>(row - tile.y0);
      for (int64_t column = tile.x0; column < tile.x1; ++column) {
        const auto x = static_cast<int32_t>(column - tile.x0);
        const int lane =
            ((y / block_size) * across + x / block_size) * block_lanes + y % block_size * block_size + x % block_size;
        const int64_t first = scene_.image.pixel(tile.view, row, column) * most_;
        const int64_t count = work.lists.count[lane];
        const Entry<T>* list = work.lists.entries.data() + lane * most_;
        for (int64_t k = 0; k < count; ++k) {
          const int32_t face = most_ == 1 ? work.lists.nearest[lane] : list[k].face;
          const TileFace<T>& f = work.faces[face];
          out_.write(first + k, f.face, f.number, scene_.flags, x, y, step_);
        }
        std::fill(out_.tri + first + count, out_.tri + first + most_, -1);
        std::fill(out_.z + first + count, out_.z + first + most_, T(0));
        std::fill(out_.dist + first + count, out_.dist + first + most_, T(0));
        std::fill(out_.bary + 3 * (first + count), out_.bary + 3 * (first + most_), T(0));
      }
    }
  }

  const Scene<T>& scene_;
  const int64_t most_;
  const FragmentOutputs<T> out_;
  const int64_t size_;
  const T step_, blur_, reach_;
  const bool clip_;
};

// ---- Backward ---------------------------------------------------------------------------------------------------

// The faces found in a tile and their sums.
template <class T>
struct FaceSums {
  // The number of a face in the tile. A face gets a new number if it is not known; if it has been forgotten, it then
  // has two numbers.
  int32_t find(const Scene<T>& scene, const PixelTile& tile, int32_t face) {
    const int32_t before = numbers.count(), number = numbers.find(face);
    if (number == before) {
      double p[3][4];
      scene.corners(tile.view, face, p);
      FaceFrame& frame = *frames.extend(1);
      Face<T>& made = *faces.extend(1);
      if (!make_frame(p, tile.x0, tile.y0, scene.viewport, scene.flags & ~flag_cull, frame)) {
        throw InvalidArgument("the fragments hold face %d, which shows nothing: they are not of these positions",
                              static_cast<int>(face));
      }
      make_face(frame, scene.flags, made);
      std::fill_n(sums.extend(all_sums), all_sums, T(0));
    }
    return number;
  }

  void clear() {
    numbers.clear();
    frames.clear();
    faces.clear();
    sums.clear();
  }

  TriangleNumbers numbers;
  Array<FaceFrame> frames;
  Array<Face<T>> faces;
  Array<T> sums;
};

template <class T>
void backward_tile(const Scene<T>& scene, const FragmentGradients<T>& in, int64_t most, const PixelTile& tile,
                   FaceSums<T>& work) {
  const T step = static_cast<T>(scene.viewport.step);
  work.clear();
  for (int64_t row = tile.y0; row < tile.y1; ++row) {
    for (int64_t column = tile.x0; column < tile.x1; ++column) {
      const int64_t first = scene.image.pixel(tile.view, row, column) * most;
      for (int64_t i = first; i < first + most; ++i) {
        const int32_t face = in.tri[i];
        if (face < 0 || !in.matter(i)) continue;
        if (face >= scene.mesh.triangles) {
          throw InvalidArgument("the fragments hold face %d, but tri has %lld triangles", static_cast<int>(face),
                                static_cast<long long>(scene.mesh.triangles));
        }
        const int32_t number = work.find(scene, tile, face);
        T* sums = work.sums.data() + static_cast<int64_t>(number) * all_sums;
        in.pull_back(i, work.faces[number], scene.flags, static_cast<int32_t>(column - tile.x0),
                     static_cast<int32_t>(row - tile.y0), step, [&](int k, T value) { sums[k] += value; });
      }
    }
  }
}

template <class T>
void backward(int32_t threads, const Scene<T>& scene, const FragmentGradients<T>& in, int64_t most, T* grad_pos) {
  const TileGrid tiles(scene.image.views, scene.image.height, scene.image.width, fragment_tile_size(most));
  TriangleGradients<T> gradients(threads, tiles.count(), 12);
  std::vector<FaceSums<T>> work(static_cast<size_t>(std::max(1, threads)));
  parallel_for(threads, tiles.count(), [&](int64_t i, int worker) {
    FaceSums<T>& sums = work[worker];
    const PixelTile tile = tiles[i];
    backward_tile(scene, in, most, tile, sums);
    gradients.begin_chunk(i, worker, tile.view);
    const int64_t count = sums.numbers.count();
    T* out = gradients.append(worker, count, [&](int64_t k) { return sums.numbers[static_cast<int32_t>(k)]; });
    for (int64_t k = 0; k < count; ++k) {
      sums_to_vertices(sums.frames[k], scene.viewport, scene.flags, sums.sums.data() + k * all_sums, true,
                       out + 12 * k);
    }
    gradients.end_chunk(i, worker);
  });
  gradients.scatter(threads, scene.mesh.tri, scene.mesh.vertices, scene.image.views, scene.mesh.shared, 4, grad_pos);
}

}  // namespace
}  // namespace lg::soft

int32_t lg_soft_rasterize_forward(lg_call* call, int32_t dtype, const void* pos, const int32_t* tri,
                                  const int64_t* ranges, int64_t views, int64_t vertices, int64_t triangles,
                                  int64_t height, int64_t width, int64_t faces_per_pixel, double blur_radius,
                                  int32_t flags, int32_t* frag_tri, void* z, void* dist, void* bary) {
  return lg::dispatch(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const auto scene = lg::soft::make_scene<T>(pos, tri, ranges, ranges != nullptr, views, vertices, triangles, height,
                                               width, blur_radius, flags);
    lg::soft::Forward<T>(scene, faces_per_pixel,
                         {frag_tri, static_cast<T*>(z), static_cast<T*>(dist), static_cast<T*>(bary)})
        .run(call->threads);
  });
}

int32_t lg_soft_rasterize_backward(lg_call* call, int32_t dtype, const void* pos, const int32_t* tri,
                                   int32_t shared_positions, int64_t views, int64_t vertices, int64_t triangles,
                                   int64_t height, int64_t width, int64_t faces_per_pixel, int32_t flags,
                                   const int32_t* frag_tri, const void* grad_z, const void* grad_dist,
                                   const void* grad_bary, void* grad_pos) {
  return lg::dispatch(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const auto scene = lg::soft::make_scene<T>(pos, tri, nullptr, shared_positions != 0, views, vertices, triangles,
                                               height, width, 0.0, flags);
    const auto in = lg::soft::make_fragment_gradients<T>(frag_tri, grad_z, grad_dist, grad_bary);
    lg::soft::backward<T>(call->threads, scene, in, faces_per_pixel, static_cast<T*>(grad_pos));
  });
}
