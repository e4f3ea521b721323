// The pixels of one tile of an image of triangle numbers, sixteen neighbours of a row at a time, cut into runs that
// show the same triangle.
//
// Tiles keep per-triangle data in the innermost cache, but hardware prefetchers do not predict the rows of a tile as
// they do those of an image: each is a new stream of a few hundred bytes. The data of a chunk are therefore prefetched
// some rows ahead.
#pragma once

#include <algorithm>
#include <cstdint>

#include "math/bits.h"
#include "parallel/tiles.h"
#include "runtime/config.h"

namespace lg {

constexpr int chunk_lanes = 16;

struct PixelChunk {
  int64_t first;  // its first pixel's place in the image
  int32_t column, row, count;
  uint32_t seen;           // the lanes that show a triangle
  uint32_t starts;         // the first lanes of the runs
  const int32_t* numbers;  // of the runs' triangles

  bool uniform() const { return seen == 0xffffu && starts == 1; }

  // Calls body(number, first lane, last lane) for the runs.
  template <class Body>
  void for_runs(Body&& body) const {
    const uint32_t breaks = starts | (~seen & 0xffffu) | 0x10000u;
    const int32_t* number = numbers;
    for (uint32_t rest = starts; rest; rest &= rest - 1, ++number) {
      const int from = lowest_lane(rest);
      body(*number, from, from + lowest_lane(breaks >> (from + 1)));
    }
  }
};

// Transposes `count` rows of n values to n arrays of sixteen lanes, with zeros beyond.
template <class T>
LG_HD void load_lanes(const T* from, int n, int count, T (*to)[chunk_lanes]) {
  if (LG_LIKELY(count == chunk_lanes)) {
    for (int k = 0; k < n; ++k) {
      for (int l = 0; l < chunk_lanes; ++l) to[k][l] = from[l * n + k];
    }
  } else {
    for (int k = 0; k < n; ++k) {
      for (int l = 0; l < chunk_lanes; ++l) to[k][l] = l < count ? from[l * n + k] : T(0);
    }
  }
}

// The reverse.
template <class T>
LG_HD void store_lanes(const T (*from)[chunk_lanes], int n, int count, T* LG_RESTRICT to) {
  if (LG_LIKELY(count == chunk_lanes)) {
    for (int l = 0; l < chunk_lanes; ++l) {
      for (int k = 0; k < n; ++k) to[l * n + k] = from[k][l];
    }
  } else {
    for (int l = 0; l < count; ++l) {
      for (int k = 0; k < n; ++k) to[l * n + k] = from[k][l];
    }
  }
}

class TileChunks {
 public:
  // Goes through the tile once. find(triangle, column, row) returns the tile's number for a triangle. image: see
  // surface/fragment_lanes_cpu.h.
  template <class Image, class Find>
  void number(const PixelTile& tile, int64_t height, int64_t width, const Image& image, Find&& find) {
    tile_ = tile;
    start_ = tile.view * height * width;
    width_ = width;
    int32_t* next = numbers_;
    for_places([&](int64_t row, int64_t column, int place) {
      const int64_t first = start_ + row * width + column;
      if (row + ids_ahead < tile_.y1) image.prefetch_triangles(first + ids_ahead * width);
      const int count = count_at(column);
      int32_t buffer[chunk_lanes];
      const int32_t* ids = image.triangles(first, count, buffer);
      const uint32_t seen = seen_lanes(ids, count), starts = run_starts(ids, count) & seen;
      for (uint32_t rest = starts; rest; rest &= rest - 1) {
        const int l = lowest_lane(rest);
        *next++ = find(ids[l], static_cast<int32_t>(column) + l, static_cast<int32_t>(row));
      }
      seen_[place] = static_cast<uint16_t>(seen);
      starts_[place] = static_cast<uint16_t>(starts);
    });
  }

  // Calls body(chunk) for all chunks, row by row. ahead(chunk) prefetches what body will read for a later
  // chunk.
  template <class Ahead, class Body>
  void for_each(Ahead&& ahead, Body&& body) const {
    const int32_t* numbers = numbers_;
    for_places([&](int64_t row, int64_t column, int place) {
      constexpr int later = values_ahead * chunks_per_row;
      if (row + values_ahead < tile_.y1 && seen_[place + later]) {
        ahead(chunk_at(row + values_ahead, column, place + later, nullptr));
      }
      const PixelChunk chunk = chunk_at(row, column, place, numbers);
      body(chunk);
      numbers += count_lanes(chunk.starts);
    });
  }

 private:
  static constexpr int largest_size = 64, ids_ahead = 4, values_ahead = 2;  // pixels, rows
  static constexpr int chunks_per_row = largest_size / chunk_lanes;

  template <class Body>
  void for_places(Body&& body) const {
    for (int64_t row = tile_.y0; row < tile_.y1; ++row) {
      int place = static_cast<int>(row - tile_.y0) * chunks_per_row;
      for (int64_t column = tile_.x0; column < tile_.x1; column += chunk_lanes) body(row, column, place++);
    }
  }

  int count_at(int64_t column) const { return static_cast<int>(std::min<int64_t>(chunk_lanes, tile_.x1 - column)); }

  PixelChunk chunk_at(int64_t row, int64_t column, int place, const int32_t* numbers) const {
    return {start_ + row * width_ + column,
            static_cast<int32_t>(column),
            static_cast<int32_t>(row),
            count_at(column),
            seen_[place],
            starts_[place],
            numbers};
  }

  PixelTile tile_ = {};
  int64_t start_ = 0, width_ = 0;
  int32_t numbers_[largest_size * largest_size];
  uint16_t seen_[largest_size * chunks_per_row], starts_[largest_size * chunks_per_row];
};

}  // namespace lg
