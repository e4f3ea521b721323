// The pixels of one tile of a soft image and the values of its faces there, sixteen lanes at a time.
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "parallel/tiles.h"
#include "runtime/memory.h"
#include "runtime/status.h"
#include "soft/blend.h"
#include "soft/pixel.h"
#include "soft/scene.h"
#include "soft/tile_cpu.h"

namespace lg::soft {

constexpr int blend_blocks_across = blend_tile_size / block_size;
constexpr int blend_blocks = blend_blocks_across * blend_blocks_across;
constexpr int blend_lanes = blend_blocks * block_lanes;

// The state of a tile's pixels, one lane each.
template <class T>
struct alignas(64) TilePixels {
  T transmittance[blend_lanes], nearest[blend_lanes], total[blend_lanes];
  // For the backward pass only, see BlendPixel.
  T grad[blend_lanes], inverse_total[blend_lanes], base[blend_lanes], grad_nearest[blend_lanes];
  bool live[blend_blocks];  // backward: some pixel has a gradient
  Array<T> channel;         // [blend_blocks, channels, block_lanes]: sums of colours, or their gradients

  T* channels_of(int block, int64_t channels) { return channel.data() + block * channels * block_lanes; }
  void clear_channels(int64_t channels) {
    channel.clear();
    std::fill_n(channel.extend(blend_lanes * channels), blend_lanes * channels, T(0));
  }

  LG_INLINE BlendPixel<T> pixel(int lane) const {
    return {transmittance[lane], grad[lane], nearest[lane], inverse_total[lane], base[lane], grad_nearest[lane], true};
  }
};

// Calls body(pixel, block, lane) for the pixels of a tile that lie in the image.
template <class T, class Body>
void for_tile_pixels(const Scene<T>& scene, const PixelTile& tile, Body&& body) {
  for (int64_t row = tile.y0; row < tile.y1; ++row) {
    const auto y = static_cast<int>(row - tile.y0);
    for (int64_t column = tile.x0; column < tile.x1; ++column) {
      const auto x = static_cast<int>(column - tile.x0);
      const int block = y / block_size * blend_blocks_across + x / block_size;
      const int lane = y % block_size * block_size + x % block_size;
      body(scene.image.pixel(tile.view, row, column), block, lane);
    }
  }
}

// A face's values in the lanes of a block.
template <class T>
struct alignas(64) BlockFace {
  T p[block_lanes], rest[block_lanes], nearness[block_lanes], weight[block_lanes];
  T bary[3][block_lanes], grad_bary[3][block_lanes], dot[block_lanes];

  LG_INLINE FaceBlend<T> face(int lane, bool inside) const {
    return {inside, {p[lane], rest[lane], T(1)}, nearness[lane], weight[lane]};
  }
};

// What the forward and backward passes share.
template <class T, Falloff falloff>
class BlendPass {
 public:
  BlendPass(const Scene<T>& scene, const BlendRequest<T>& request, const BlendImages<T>& images)
      : scene_(scene),
        r_(request),
        images_(images),
        step_(static_cast<T>(scene.viewport.step)),
        blur_(static_cast<T>(scene.blur)),
        reach_(static_cast<T>(std::sqrt(scene.blur))) {}

 protected:
  // Calls body(face, frame) for the faces in [face, end) that may be visible in the tile.
  template <class Body>
  void for_faces(const PixelTile& tile, const int32_t* face, const int32_t* end, Body&& body) const {
    FaceFrame frame;
    TileFace<T> tile_face;
    for (; face < end; ++face) {
      if (make_tile_face(scene_, tile, *face, frame, tile_face)) body(tile_face, frame);
    }
  }

  // Calls body(number of edges as a constant, block, column, row) for the blocks that the face may reach.
  template <class Body>
  void for_face_blocks(const TileFace<T>& f, Body&& body) const {
    for_blocks(f.face, f.box, step_, reach_, blend_blocks_across, [&](int block, int32_t column, int32_t row) {
      if (f.face.edges == 3) {
        body(Constant<3>(), block, column, row);
      } else {
        body(Constant<4>(), block, column, row);
      }
    });
  }

  // Computes the face's weight in each lane of a block, and the values that it was computed from for the backward pass.
  template <int Edges>
  LG_INLINE void weigh_block(const Face<T> f, int32_t column, int32_t row, const T* nearest, BlockFace<T>& b) const {
    const T step = step_, blur = blur_;
    const BlendRequest<T> r = r_;
    LG_VECTORIZE
    for (int l = 0; l < block_lanes; ++l) {
      const T x = T(column + Offsets::block_x[l]) * step, y = -T(row + Offsets::block_y[l]) * step;
      Place<T> at;
      locate<Edges>(f, x, y, at);
      Weights<T> weights;
      weigh<true>(f, at.line, weights);
      const bool near = at.is_near(blur) & weights.valid;
      const bool inside = at.inner >= 0;
      const Probability<T> at_p = probability_of(falloff, at.dist, inside, r.inverse_sigma);
      const T s = r.nearness(weights), weight = r.weight(at_p, s, inside ? T(0) : at.dist, nearest[l]);
      b.p[l] = near ? at_p.p : T(0);
      b.rest[l] = near ? at_p.rest : T(1);
      b.nearness[l] = s;
      b.weight[l] = near ? weight : T(0);
      for (int i = 0; i < 3; ++i) b.bary[i][l] = near ? weights.bary[i] : T(0);
    }
  }

  const T* attributes_of(int64_t view, int32_t face, int corner) const {
    const int64_t vertex = r_.attr_tri[3 * static_cast<int64_t>(face) + corner];
    if (vertex < 0 || vertex >= r_.attr_vertices) {
      throw InvalidArgument("attr_tri[%d, %d] is %lld, but attr has %lld vertices", static_cast<int>(face), corner,
                            static_cast<long long>(vertex), static_cast<long long>(r_.attr_vertices));
    }
    return r_.attr + r_.attr_row(view, vertex) * r_.channels;
  }

  const Scene<T>& scene_;
  const BlendRequest<T>& r_;
  const BlendImages<T> images_;
  const T step_, blur_, reach_;
};

}  // namespace lg::soft
