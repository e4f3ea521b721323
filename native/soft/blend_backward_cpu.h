// The backward pass of soft images without fragments on the CPU: tiles go through their faces again. A face's gradients
// are summed over its pixels in the tile, lane by lane.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "parallel/tiles.h"
#include "parallel/triangle_gradients.h"
#include "runtime/memory.h"
#include "soft/bins_cpu.h"
#include "soft/blend.h"
#include "soft/blend_tile_cpu.h"
#include "soft/vertex_gradients.h"

namespace lg::soft {

template <class T, Falloff falloff>
class BlendBackward : BlendPass<T, falloff> {
  using Base = BlendPass<T, falloff>;
  using Base::for_face_blocks, Base::for_faces;
  using Base::images_, Base::r_, Base::scene_, Base::step_, Base::blur_;

 public:
  using Base::Base;

  void run(int32_t threads, const BlendGradients<T>& grads) const {
    const TileGrid grid(scene_.image.views, scene_.image.height, scene_.image.width, blend_tile_size);
    const int64_t attr_values = 3 * r_.channels;
    TriangleGradients<T> positions(threads, grid.count(), 12), attributes(threads, grid.count(), attr_values);
    std::vector<TilePixels<T>> work(static_cast<size_t>(std::max(1, threads)));
    std::vector<Array<T>> sums(work.size());
    for_tiles(scene_, threads, blend_tile_size,
              [&](int64_t number, const PixelTile& tile, const int32_t* face, const int32_t* end, int worker) {
                TilePixels<T>& pixels = work[worker];
                sums[worker].clear();
                T* sum = sums[worker].extend((all_sums + attr_values) * block_lanes);
                positions.begin_chunk(number, worker, tile.view);
                attributes.begin_chunk(number, worker, r_.attr_views == 1 ? 0 : tile.view);
                if (read_gradients(tile, grads, pixels)) {
                  for_faces(tile, face, end, [&](const TileFace<T>& f, const FaceFrame& frame) {
                    if (pull_back(f, tile.view, pixels, sum)) {
                      finish(f, frame, sum, worker, positions, grads.attr ? &attributes : nullptr);
                    }
                  });
                }
                positions.end_chunk(number, worker);
                attributes.end_chunk(number, worker);
              });
    const MeshIndex& mesh = scene_.mesh;
    if (grads.pos) {
      positions.scatter(threads, mesh.tri, mesh.vertices, scene_.image.views, mesh.shared, 4, grads.pos);
    }
    if (grads.attr) {
      attributes.scatter(threads, r_.attr_tri, r_.attr_vertices, r_.attr_views, r_.attr_views == 1, r_.channels,
                         grads.attr);
    }
  }

 private:
  // Returns false if no pixel of the tile has a gradient.
  bool read_gradients(const PixelTile& tile, const BlendGradients<T>& grads, TilePixels<T>& pixels) const {
    std::fill_n(pixels.live, blend_blocks, false);
    for (T* lanes :
         {pixels.grad, pixels.transmittance, pixels.nearest, pixels.inverse_total, pixels.base, pixels.grad_nearest}) {
      std::fill_n(lanes, blend_lanes, T(0));
    }
    const int64_t channels = r_.channels;
    pixels.clear_channels(channels);
    bool any = false;
    for_tile_pixels(scene_, tile, [&](int64_t pixel, int block, int l) {
      const int lane = block * block_lanes + l;
      const BlendPixel<T> from = read_blend_pixel(r_, images_, grads, pixel);
      pixels.transmittance[lane] = from.transmittance;
      pixels.grad[lane] = from.grad;
      pixels.nearest[lane] = from.nearest;
      pixels.inverse_total[lane] = from.inverse_total;
      pixels.base[lane] = from.base;
      pixels.grad_nearest[lane] = from.grad_nearest;
      pixels.live[block] |= from.live;
      any |= from.live;
      T* grad = pixels.channels_of(block, channels) + l;
      for (int64_t c = 0; c < channels && grads.color; ++c) grad[c * block_lanes] = grads.color[pixel * channels + c];
    });
    return any;
  }

  // Sums the face's gradients over the tile's pixels, lane by lane. Returns false if there are none.
  bool pull_back(const TileFace<T>& f, int64_t view, TilePixels<T>& pixels, T* sum) const {
    const T* corner[3] = {};
    for (int i = 0; i < 3 && r_.colors(); ++i) corner[i] = this->attributes_of(view, f.number, i);
    bool any = false;
    for_face_blocks(f, [&](auto edges, int block, int32_t column, int32_t row) {
      if (!pixels.live[block]) return;
      if (!any) std::fill_n(sum, (r_.colors() ? all_sums + 3 * r_.channels : edge_sums) * block_lanes, T(0));
      any = true;
      if (r_.colors()) {
        pull_back_colors<edges>(f.face, block, column, row, corner, pixels, sum);
      } else {
        pull_back_silhouette<edges>(f.face, column, row, pixels.transmittance + block * block_lanes,
                                    pixels.grad + block * block_lanes, sum);
      }
    });
    return any;
  }

  template <int Edges>
  LG_INLINE void pull_back_silhouette(const Face<T> f, int32_t column, int32_t row, const T* transmittance,
                                      const T* grad, T* sum) const {
    const T step = step_, blur = blur_, inverse_sigma = r_.inverse_sigma;
    LG_VECTORIZE
    for (int l = 0; l < block_lanes; ++l) {
      const T x = T(column + Offsets::block_x[l]) * step, y = -T(row + Offsets::block_y[l]) * step;
      Place<T> at;
      locate<Edges>(f, x, y, at);
      const bool inside = at.inner >= 0;
      bool near = at.is_near(blur);
      if (Edges == 4) {
        Weights<T> weights;
        weigh<true>(f, at.line, weights);
        near &= weights.valid;
      }
      const Probability<T> at_p = probability_of(falloff, at.dist, inside, inverse_sigma);
      const T slope = transmittance_slope(falloff, at_p, inside, transmittance[l], inverse_sigma);
      const T grad_dist = near ? grad[l] * slope : T(0);
      distance_gradient<Edges>(f, x, y, at, grad_dist, [&](int k, T value) { sum[k * block_lanes + l] += value; });
    }
  }

  template <int Edges>
  LG_INLINE void pull_back_colors(const Face<T> f, int block, int32_t column, int32_t row, const T* const corner[3],
                                  TilePixels<T>& pixels, T* sum) const {
    const int first = block * block_lanes;
    const T* inverse_total = pixels.inverse_total + first;
    BlockFace<T> b;
    this->template weigh_block<Edges>(f, column, row, pixels.nearest + first, b);
    for (int l = 0; l < block_lanes; ++l) {
      b.dot[l] = -pixels.base[first + l];
      for (int i = 0; i < 3; ++i) b.grad_bary[i][l] = 0;
    }
    const T* grad = pixels.channels_of(block, r_.channels);
    T* attr_sum = sum + all_sums * block_lanes;
    for (int64_t c = 0; c < r_.channels; ++c, grad += block_lanes, attr_sum += 3 * block_lanes) {
      const T a[3] = {corner[0][c], corner[1][c], corner[2][c]};
      for (int l = 0; l < block_lanes; ++l) {
        const T g = grad[l] * b.weight[l] * inverse_total[l];
        const T bary[3] = {b.bary[0][l], b.bary[1][l], b.bary[2][l]};
        b.dot[l] += grad[l] * mix_corners(bary, a[0], a[1], a[2]);
        for (int i = 0; i < 3; ++i) {
          b.grad_bary[i][l] += g * a[i];
          attr_sum[i * block_lanes + l] += g * b.bary[i][l];
        }
      }
    }
    pull_back_places<Edges>(f, column, row, pixels, first, b, sum);
  }

  template <int Edges>
  LG_INLINE void pull_back_places(const Face<T>& f, int32_t column, int32_t row, TilePixels<T>& pixels, int first,
                                  const BlockFace<T>& b, T* sum) const {
    const T step = step_;
    const BlendRequest<T> r = r_;
    LG_VECTORIZE
    for (int l = 0; l < block_lanes; ++l) {
      const T px = T(column + Offsets::block_x[l]), py = T(row + Offsets::block_y[l]), x = px * step, y = -py * step;
      Place<T> at;
      locate<Edges>(f, x, y, at);
      Weights<T> weights;
      weigh<true>(f, at.line, weights);
      const bool near = (b.p[l] > 0) | (b.weight[l] > 0);
      const FaceBlendGradient<T> grad =
          blend_gradient(r, falloff, b.face(l, at.inner >= 0), pixels.pixel(first + l), b.dot[l]);
      const bool nearest = near & (b.nearness[l] == pixels.nearest[first + l]);
      pixels.grad_nearest[first + l] = nearest ? T(0) : pixels.grad_nearest[first + l];
      distance_gradient<Edges>(f, x, y, at, near ? grad.dist : T(0),
                               [&](int k, T value) { sum[k * block_lanes + l] += value; });
      const T grad_nearness = near ? grad.nearness : T(0);
      const T grad_bary[3] = {b.grad_bary[0][l], b.grad_bary[1][l], b.grad_bary[2][l]};
      // In lanes to which the face does not contribute, `weights` may hold anything.
      weight_gradient<true>(f, at.line, weights, px, py, grad_bary, r.nearness.grad_z(grad_nearness),
                            r.nearness.grad_below(grad_nearness),
                            [&](int k, T value) { sum[k * block_lanes + l] += near ? value : T(0); });
    }
  }

  void finish(const TileFace<T>& f, const FaceFrame& frame, const T* sum, int worker, TriangleGradients<T>& positions,
              TriangleGradients<T>* attributes) const {
    T total[all_sums];
    const int count = r_.colors() ? all_sums : 4 * f.face.edges;
    std::fill_n(total, all_sums, T(0));
    for (int k = 0; k < count; ++k) total[k] = add_lanes(sum + k * block_lanes);
    const auto number = [&](int64_t) { return f.number; };
    sums_to_vertices(frame, scene_.viewport, scene_.flags, total, r_.colors(), positions.append(worker, 1, number));
    if (!attributes) return;
    T* out = attributes->append(worker, 1, number);
    const T* lanes = sum + all_sums * block_lanes;
    for (int64_t c = 0; c < r_.channels; ++c) {
      for (int i = 0; i < 3; ++i, lanes += block_lanes) out[i * r_.channels + c] = add_lanes(lanes);
    }
  }

  static T add_lanes(const T* lanes) {
    T part[4];
    for (int i = 0; i < 4; ++i) part[i] = (lanes[i] + lanes[i + 4]) + (lanes[i + 8] + lanes[i + 12]);
    return (part[0] + part[2]) + (part[1] + part[3]);
  }
};

}  // namespace lg::soft
