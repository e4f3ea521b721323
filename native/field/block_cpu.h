// Sixteen segments of a ray at once on the CPU: where their middles lie, what is interpolated there, what they absorb.
//
// It is for steps of a fixed length. Each pass goes over the blocks of several rays, so that one need not wait for
// another's results.
#pragma once

#include <cstdint>

#include "field/march.h"
#include "math/lanes.h"

namespace lg::field {

constexpr int block_size = 16;

// Where the middles of segments lie.
template <class T>
struct Places {
  // The first of the eight voxels around each of them, and how far they are on the way to the others.
  alignas(64) int32_t voxel[block_size], row[block_size], slice[block_size];
  alignas(64) T x[block_size], y[block_size], z[block_size];
};

template <class T>
struct Block {
  int32_t count;
  T norm;  // of the ray's direction
  Places<T> places;
  alignas(64) T begin[block_size], length[block_size], middle[block_size];
  alignas(64) T values[4 * block_size];  // four of each segment, or the densities alone
  alignas(64) T extinction[block_size], slope[block_size];
  alignas(64) T passed[block_size], absorbed[block_size];
};

template <class T>
bool fits_blocks(const March<T>& march) {
  const Volume<T>& v = march.volume;
  return march.step != 0 && v.value_count() / v.channels < (int64_t{1} << 31);
}

// What stays the same along a ray.
template <class T>
class BlockWalk {
 public:
  BlockWalk(const March<T>& march, const Ray<T>& ray)
      : march_(march), ray_(ray), walk_(march.volume, march.occupancy, ray, march.step) {
    const Volume<T>& v = march.volume;
    for (int a = 0; a < 3; ++a) {
      const T scale = ray.hits ? static_cast<T>(v.size[a]) / v.extent(a) : T(0);
      start_[a] = (ray.origin[a] - v.low(a)) * scale - T(0.5);
      along_[a] = ray.direction[a] * scale;
    }
  }

  // Finds the next segments. False where there are no more. Those behind the last one of a block have no length.
  bool next(Block<T>& block) {
    alignas(64) T end[block_size];
    block.count = walk_.template next_block<block_size>(block.begin, end);
    block.norm = ray_.norm;
    if (block.count == 0) return false;
    LG_VECTORIZE
    for (int i = 0; i < block_size; ++i) {
      block.middle[i] = T(0.5) * (block.begin[i] + end[i]);
      block.length[i] = end[i] - block.begin[i];
    }
    locate_all(block.middle, block.places);
    return true;
  }

 private:
  // The cell along an axis, and the way through it.
  static LG_INLINE void locate_axis(const T* middle, T start, T along, int32_t size, int32_t* cell, T* fraction) {
    const T last = static_cast<T>(size - 1);
    const int32_t most = size > 1 ? size - 2 : 0;
    LG_VECTORIZE
    for (int i = 0; i < block_size; ++i) {
      const T at = start + middle[i] * along;
      const T below = at < last ? at : last, kept = below > 0 ? below : T(0);
      const auto whole = static_cast<int32_t>(kept);
      cell[i] = whole < most ? whole : most;
      fraction[i] = kept - static_cast<T>(cell[i]);
    }
  }

  void locate_all(const T* middle, Places<T>& places) const {
    const Volume<T>& v = march_.volume;
    alignas(64) int32_t column[block_size];
    locate_axis(middle, start_[0], along_[0], v.size[0], column, places.x);
    locate_axis(middle, start_[1], along_[1], v.size[1], places.row, places.y);
    locate_axis(middle, start_[2], along_[2], v.size[2], places.slice, places.z);
    const int32_t rows = v.size[1], columns = v.size[0];
    LG_VECTORIZE
    for (int i = 0; i < block_size; ++i) {
      places.voxel[i] = (places.slice[i] * rows + places.row[i]) * columns + column[i];
    }
  }

  const March<T>& march_;
  const Ray<T>& ray_;
  Walk<T> walk_;
  T start_[3], along_[3];
};

// ---- Absorption --------------------------------------------------------------------------------------------------

template <int stride, Activation activation, class T>
void activate(Block<T>* blocks, int count) {
  for (int b = 0; b < count; ++b) {
    Block<T>& block = blocks[b];
    LG_VECTORIZE
    for (int i = 0; i < block_size; ++i) {
      const Extinction<T> extinction = extinction_of<activation>(block.values[stride * i]);
      block.extinction[i] = extinction.value;
      block.slope[i] = extinction.slope;
    }
  }
}

// stride: of the densities among a block's values
template <int stride, class T>
void absorb_blocks(Activation activation, Block<T>* blocks, int count) {
  switch (activation) {
    case Activation::none:
      activate<stride, Activation::none>(blocks, count);
      break;
    case Activation::relu:
      activate<stride, Activation::relu>(blocks, count);
      break;
    case Activation::softplus:
      activate<stride, Activation::softplus>(blocks, count);
      break;
    case Activation::exponential:
      activate<stride, Activation::exponential>(blocks, count);
  }
  for (int b = 0; b < count; ++b) {
    Block<T>& block = blocks[b];
    LG_VECTORIZE
    for (int i = 0; i < block_size; ++i) {
      const Absorption<T> absorption = absorb(block.extinction[i] * block.norm * block.length[i]);
      block.passed[i] = absorption.passed;
      block.absorbed[i] = absorption.absorbed;
    }
  }
}

// What reaches each segment of a block, and how many of them count: those up to the first behind which too little is
// left.
template <class T>
struct Reach {
  int count;
  alignas(64) T reaches[block_size + 1];

  LG_INLINE Reach& set(const Block<T>& block, T min_transmittance, T first) {
    reaches[0] = first;
    T least = first;  // transmittance need not fall: densities may be negative
    for (int i = 0; i < block_size; ++i) {
      reaches[i + 1] = reaches[i] * block.passed[i];
      least = reaches[i + 1] < least ? reaches[i + 1] : least;
    }
    count = block.count;
    if (LG_LIKELY(least > min_transmittance)) return *this;
    count = 1;
    while (count < block.count && reaches[count] > min_transmittance) ++count;
    return *this;
  }
  T behind() const { return reaches[count]; }
};

}  // namespace lg::field
