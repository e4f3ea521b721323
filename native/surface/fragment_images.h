// The images that rasterization fills, and how a tile's pixels get there.
#pragma once

#include <algorithm>
#include <cstdint>

#include "runtime/stream.h"
#include "surface/fragments.h"
#include "surface/visibility_cpu.h"

namespace lg::surface {

constexpr int max_channels = 4;  // of attributes

// The outputs of a block's lanes.
template <class T>
struct alignas(64) BlockAttributes {
  T u[block_lanes], v[block_lanes], depth[block_lanes];
  T d[4][block_lanes];
};

// Interpolated attributes of a block's lanes.
template <class T, int Channels>
struct alignas(64) BlockChannels {
  T value[Channels][block_lanes];
};

// Where the outputs of all pixels go: bary and depth, or rast, which packs both with tri. bary_d, zbuffer and
// attributes are null if not wanted.
template <class T>
struct FragmentImages {
  int32_t* tri;
  T *bary, *depth, *bary_d;
  float* zbuffer;
  T* rast;
  T* attributes;
  int channels;  // of attributes
  bool stream;   // whether to write zeros past the caches: of pixels that show nothing, little more than `tri` is read

  // Writes `count` pixels of a row from place `first` on; `from` has them from place `start` on.
  void write(int64_t first, int64_t count, const FragmentImages& from, int64_t start) const {
    std::copy_n(from.tri + start, count, tri + first);
    if (rast) {
      std::copy_n(from.rast + 4 * start, 4 * count, rast + 4 * first);
    } else {
      std::copy_n(from.bary + 2 * start, 2 * count, bary + 2 * first);
      std::copy_n(from.depth + start, count, depth + first);
    }
    if (bary_d) std::copy_n(from.bary_d + 4 * start, 4 * count, bary_d + 4 * first);
    if (zbuffer) std::copy_n(from.zbuffer + start, count, zbuffer + first);
    if (attributes) std::copy_n(from.attributes + channels * start, channels * count, attributes + channels * first);
  }

  // The same for pixels that show nothing.
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
    if (attributes) write_zeros(attributes + channels * first, channels * count, stream);
  }
};

// The outputs of a tile's row of blocks, which are written to the images when it is complete: whole cache lines at
// once.
template <class T>
struct alignas(64) Strip {
  int32_t tri[block_size][tile_size];
  T bary[block_size][2 * tile_size], depth[block_size][tile_size], bary_d[block_size][4 * tile_size];
  float zbuffer[block_size][tile_size];
  T rast[block_size][4 * tile_size], attributes[block_size][max_channels * tile_size];

  // From the block that begins at `column`. packed: rast, in the place of bary and depth.
  template <bool Derivatives>
  void set_block(int column, const int32_t* ids, const BlockAttributes<T>& a, bool packed) {
    if (packed) {
      set_packed(column, ids, a);
    } else {
      set_apart(column, a);
    }
    for (int r = 0; r < block_size; ++r) {
      const int lane = r * block_size;
      for (int c = 0; c < block_size; ++c) tri[r][column + c] = ids[lane + c];
      for (int c = 0; Derivatives && c < block_size; ++c) {
        for (int k = 0; k < 4; ++k) bary_d[r][4 * (column + c) + k] = a.d[k][lane + c];
      }
    }
  }

  void set_zbuffer(int column, const int32_t* ids, const float* z) {
    for (int l = 0; l < block_lanes; ++l) {
      zbuffer[l / block_size][column + l % block_size] = ids[l] < 0 ? 0.0f : z[l];
    }
  }

  template <int Channels>
  void set_attributes(int column, const BlockChannels<T, Channels>& a) {
    for (int r = 0; r < block_size; ++r) {
      T* row = attributes[r] + Channels * column;
      for (int c = 0; c < block_size; ++c) {
        for (int k = 0; k < Channels; ++k) row[Channels * c + k] = a.value[k][r * block_size + c];
      }
    }
  }

  // channels: of the attributes that were set.
  FragmentImages<T> row(int r, int channels) {
    return {tri[r], bary[r], depth[r], bary_d[r], zbuffer[r], rast[r], attributes[r], channels, false};
  }

 private:
  void set_apart(int column, const BlockAttributes<T>& a) {
    for (int r = 0; r < block_size; ++r) {
      const int lane = r * block_size;
      for (int c = 0; c < block_size; ++c) {
        bary[r][2 * (column + c)] = a.u[lane + c];
        bary[r][2 * (column + c) + 1] = a.v[lane + c];
      }
      for (int c = 0; c < block_size; ++c) depth[r][column + c] = a.depth[lane + c];
    }
  }

  void set_packed(int column, const int32_t* ids, const BlockAttributes<T>& a) {
    alignas(64) T packed_ids[block_lanes];
    for (int l = 0; l < block_lanes; ++l) packed_ids[l] = pack_triangle<T>(ids[l]);
    for (int r = 0; r < block_size; ++r) {
      const int lane = r * block_size;
      for (int c = 0; c < block_size; ++c) {
        T* pixel = rast[r] + 4 * (column + c);
        pixel[0] = a.u[lane + c];
        pixel[1] = a.v[lane + c];
        pixel[2] = a.depth[lane + c];
        pixel[3] = packed_ids[lane + c];
      }
    }
  }
};

}  // namespace lg::surface
