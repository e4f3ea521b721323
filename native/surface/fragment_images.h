// The images that rasterization fills, and how a tile's pixels are written to them.
#pragma once

#include <algorithm>
#include <cstdint>

#include "parallel/tile_chunks.h"
#include "runtime/stream.h"
#include "surface/fragments.h"
#include "surface/visibility_cpu.h"

namespace lg::surface {

constexpr int max_channels = 4;  // of attributes

// The outputs at a block's lanes.
template <class T, int Channels>
struct alignas(64) BlockAttributes {
  T u[block_lanes], v[block_lanes], depth[block_lanes];
  T attributes[std::max(1, Channels)][block_lanes];
  T d[4][block_lanes];
};

// The outputs of sixteen neighbours in a row, one array per value: lines of the images before they are interleaved.
template <class T>
struct alignas(64) PieceRow {
  int32_t tri[chunk_lanes];
  float zbuffer[chunk_lanes];
  T fragment[4][chunk_lanes];  // u, v, depth and, where they are packed, the triangle's number
  T bary_d[4][chunk_lanes];
  T attributes[max_channels][chunk_lanes];
};

// Destinations of the outputs of all pixels: bary and depth, or rast, which packs both with tri. bary_d, zbuffer and
// attributes are null if not wanted. Channels: the number of attributes.
template <class T, int Channels>
struct FragmentImages {
  int32_t* tri;
  T *bary, *depth, *bary_d;
  float* zbuffer;
  T* rast;
  T* attributes;
  bool stream;  // whether to write zeros past the caches: of empty pixels, hardly anything but `tri` is read

  // Writes the first `count` pixels of `from`, starting at place `first`.
  LG_INLINE void write(int64_t first, int count, const PieceRow<T>& from) const {
    std::copy_n(from.tri, count, tri + first);
    if (rast) {
      store_lanes(from.fragment, 4, count, rast + 4 * first);
    } else {
      store_lanes(from.fragment, 2, count, bary + 2 * first);
      std::copy_n(from.fragment[2], count, depth + first);
    }
    if (bary_d) store_lanes(from.bary_d, 4, count, bary_d + 4 * first);
    if (zbuffer) std::copy_n(from.zbuffer, count, zbuffer + first);
    if constexpr (Channels > 0) store_lanes(from.attributes, Channels, count, attributes + Channels * first);
  }

  // Writes empty pixels.
  void clear(int64_t first, int64_t count) const {
    std::fill_n(tri + first, count, -1);
    if (rast) {
      write_zeros(rast + 4 * first, 4 * count, stream);
    } else {
      write_zeros(bary + 2 * first, 2 * count, stream);
      write_zeros(depth + first, count, stream);
    }
    if (bary_d) write_zeros(bary_d + 4 * first, 4 * count, stream);
    if (zbuffer) write_zeros(zbuffer + first, count, stream);
    if constexpr (Channels > 0) write_zeros(attributes + Channels * first, Channels * count, stream);
  }
};

// Four blocks side by side. Their rows are written to the images when complete, in whole cache lines.
template <class T>
struct Piece {
  static constexpr int width = chunk_lanes;
  PieceRow<T> row[block_size];

  // The block that begins at `column`. packed: whether to add what packed images need.
  template <bool Derivatives, int Channels>
  LG_INLINE void set_block(int column, const int32_t* ids, const BlockAttributes<T, Channels>& a, bool packed) {
    for (int r = 0; r < block_size; ++r) {
      PieceRow<T>& to = row[r];
      const int lane = r * block_size;
      std::copy_n(ids + lane, block_size, to.tri + column);
      std::copy_n(a.u + lane, block_size, to.fragment[0] + column);
      std::copy_n(a.v + lane, block_size, to.fragment[1] + column);
      std::copy_n(a.depth + lane, block_size, to.fragment[2] + column);
      for (int k = 0; Derivatives && k < 4; ++k) std::copy_n(a.d[k] + lane, block_size, to.bary_d[k] + column);
      for (int k = 0; k < Channels; ++k) std::copy_n(a.attributes[k] + lane, block_size, to.attributes[k] + column);
    }
    if (!packed) return;
    alignas(64) T numbers[block_lanes];
    for (int l = 0; l < block_lanes; ++l) numbers[l] = pack_triangle<T>(ids[l]);
    for (int r = 0; r < block_size; ++r) std::copy_n(numbers + r * block_size, block_size, row[r].fragment[3] + column);
  }

  void set_zbuffer(int column, const int32_t* ids, const float* z) {
    for (int l = 0; l < block_lanes; ++l) {
      row[l / block_size].zbuffer[column + l % block_size] = ids[l] < 0 ? 0.0f : z[l];
    }
  }
};

}  // namespace lg::surface
