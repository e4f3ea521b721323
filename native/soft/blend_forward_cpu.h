// The forward pass of soft images without fragments on the CPU. Tiles go through their faces twice: first for the
// transmittance and the nearest face, then to blend the colours.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "parallel/tiles.h"
#include "soft/bins_cpu.h"
#include "soft/blend.h"
#include "soft/blend_tile_cpu.h"

namespace lg::soft {

template <class T, Falloff falloff>
class BlendForward : BlendPass<T, falloff> {
  using Base = BlendPass<T, falloff>;
  using Base::for_face_blocks, Base::for_faces;
  using Base::images_, Base::r_, Base::scene_, Base::step_, Base::blur_;

 public:
  using Base::Base;

  void run(int32_t threads) const {
    std::vector<TilePixels<T>> work(static_cast<size_t>(std::max(1, threads)));
    for_tiles(scene_, threads, blend_tile_size,
              [&](int64_t, const PixelTile& tile, const int32_t* face, const int32_t* end, int worker) {
                TilePixels<T>& pixels = work[worker];
                begin_tile(pixels);
                for_faces(tile, face, end, [&](const TileFace<T>& f, const FaceFrame&) { measure(f, pixels); });
                if (r_.colors()) {
                  begin_colors(pixels);
                  for_faces(tile, face, end,
                            [&](const TileFace<T>& f, const FaceFrame&) { mix(f, tile.view, pixels); });
                }
                write_tile(tile, pixels);
              });
  }

 private:
  void begin_tile(TilePixels<T>& pixels) const {
    std::fill_n(pixels.transmittance, blend_lanes, T(1));
    std::fill_n(pixels.nearest, blend_lanes, r_.eps);
  }

  // Accumulates the transmittance and finds the nearness of the nearest face.
  void measure(const TileFace<T>& f, TilePixels<T>& pixels) const {
    for_face_blocks(f, [&](auto edges, int block, int32_t column, int32_t row) {
      T* transmittance = pixels.transmittance + block * block_lanes;
      if (r_.colors()) {
        measure_block<edges, true>(f.face, column, row, transmittance, pixels.nearest + block * block_lanes);
      } else {
        measure_block<edges, false>(f.face, column, row, transmittance, nullptr);
      }
    });
  }

  template <int Edges, bool Colors>
  LG_INLINE void measure_block(const Face<T> f, int32_t column, int32_t row, T* transmittance, T* nearest) const {
    const T step = step_, blur = blur_;
    const BlendRequest<T> r = r_;
    LG_VECTORIZE
    for (int l = 0; l < block_lanes; ++l) {
      const T x = T(column + Offsets::block_x[l]) * step, y = -T(row + Offsets::block_y[l]) * step;
      Place<T> at;
      locate<Edges>(f, x, y, at);
      bool near = at.is_near(blur);
      if (Colors || Edges == 4) {
        Weights<T> weights;
        weigh<true>(f, at.line, weights);
        near &= weights.valid;
        const T rank = r.rank(r.nearness(weights), at.inner >= 0 ? T(0) : at.dist);
        if (Colors) nearest[l] = near ? maximum(nearest[l], rank) : nearest[l];
      }
      const Probability<T> at_p = probability_of(falloff, at.dist, at.inner >= 0, r.inverse_sigma);
      transmittance[l] *= near ? at_p.rest : T(1);
    }
  }

  void begin_colors(TilePixels<T>& pixels) const {
    for (int l = 0; l < blend_lanes; ++l) pixels.total[l] = r_.weight_behind(pixels.nearest[l]);
    pixels.clear_channels(r_.channels);
  }

  void mix(const TileFace<T>& f, int64_t view, TilePixels<T>& pixels) const {
    const T* corner[3];
    for (int i = 0; i < 3; ++i) corner[i] = this->attributes_of(view, f.number, i);
    for_face_blocks(f, [&](auto edges, int block, int32_t column, int32_t row) {
      BlockFace<T> b;
      this->template weigh_block<edges>(f.face, column, row, pixels.nearest + block * block_lanes, b);
      T* total = pixels.total + block * block_lanes;
      for (int l = 0; l < block_lanes; ++l) total[l] += b.weight[l];
      T* sum = pixels.channels_of(block, r_.channels);
      for (int64_t c = 0; c < r_.channels; ++c, sum += block_lanes) {
        const T a0 = corner[0][c], a1 = corner[1][c], a2 = corner[2][c];
        for (int l = 0; l < block_lanes; ++l) {
          const T bary[3] = {b.bary[0][l], b.bary[1][l], b.bary[2][l]};
          sum[l] += b.weight[l] * mix_corners(bary, a0, a1, a2);
        }
      }
    });
  }

  void write_tile(const PixelTile& tile, TilePixels<T>& pixels) const {
    for_tile_pixels(scene_, tile, [&](int64_t pixel, int block, int l) {
      const int lane = block * block_lanes + l;
      images_.transmittance[pixel] = pixels.transmittance[lane];
      if (!r_.colors()) return;
      const T inverse = images_.write_total(r_, pixel, pixels.nearest[lane], pixels.total[lane]);
      const T* sum = pixels.channels_of(block, r_.channels) + l;
      for (int64_t c = 0; c < r_.channels; ++c) images_.color[pixel * r_.channels + c] = sum[c * block_lanes] * inverse;
    });
  }
};

}  // namespace lg::soft
