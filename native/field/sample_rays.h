// Samples of rays in the occupied cells of nested grids over a box: one pass counts them, another writes them, ray
// after ray.
//
// A ray's segments are those of marching in steps. With a shift, all ends but the first and the last lie that fraction
// of a step nearer to the ray's start. A segment counts if its midpoint is in an occupied cell. The grid of level k
// covers the box scaled by 2^k about its centre. The finest level whose box contains a point decides for it.
#pragma once

#include <cmath>
#include <cstdint>

#include "field/occupancy.h"
#include "field/ray.h"
#include "field/volume.h"
#include "runtime/config.h"

namespace lg::field {

template <class T>
struct RaySampler {
  const T *origins, *directions, *box, *limits, *shifts;
  const int64_t* words;  // null: everything is occupied
  int32_t size[3];       // of each grid
  int32_t levels;
  double step;

  // A corner of a level's box along an axis, and the box's length.
  LG_HD T low(int level, int a) const { return box[a] - T(0.5) * (scale(level) - 1) * (box[3 + a] - box[a]); }
  LG_HD T high(int level, int a) const { return box[3 + a] + T(0.5) * (scale(level) - 1) * (box[3 + a] - box[a]); }
  LG_HD T extent(int level, int a) const { return scale(level) * (box[3 + a] - box[a]); }
  LG_HD T scale(int level) const { return static_cast<T>(int64_t{1} << level); }

  LG_HD Occupancy grid(int level) const {
    Occupancy grid = make_occupancy(words, size[2], size[1], size[0]);
    grid.words += int64_t{level} * grid.bricks(0) * grid.bricks(1) * grid.bricks(2);
    return grid;
  }
};

template <class T>
RaySampler<T> make_ray_sampler(const void* origins, const void* directions, const void* box, const void* limits,
                               const void* shifts, const int64_t* words, int64_t levels, int64_t slices, int64_t rows,
                               int64_t columns, double step) {
  return {static_cast<const T*>(origins),
          static_cast<const T*>(directions),
          static_cast<const T*>(box),
          static_cast<const T*>(limits),
          static_cast<const T*>(shifts),
          words,
          {static_cast<int32_t>(columns), static_cast<int32_t>(rows), static_cast<int32_t>(slices)},
          static_cast<int32_t>(levels),
          step};
}

// The samples of a ray from front to back.
template <class T>
class SampleWalk {
 public:
  LG_HD SampleWalk(const RaySampler<T>& sampler, int64_t item) : sampler_(sampler) {
    const int outer = sampler.levels - 1;
    T corners[6];
    for (int a = 0; a < 3; ++a) corners[a] = sampler.low(outer, a), corners[3 + a] = sampler.high(outer, a);
    const Volume<T> volume = {nullptr, corners, {0, 0, 0}, 0, {1, 1, 1}};
    ray_ = make_ray(volume, sampler.origins + 3 * item, sampler.directions + 3 * item, sampler.limits + 2 * item);
    if (!ray_.hits) return;
    const T shift = sampler.shifts ? sampler.shifts[item] : T(0);
    shift_ = shift > 0 && shift < 1 ? shift : T(0);
    const double length = static_cast<double>(ray_.end - ray_.begin);
    const double wanted = length / static_cast<double>(static_cast<T>(sampler.step));
    const bool fits = wanted <= max_steps;
    step_ = fits ? static_cast<T>(sampler.step) : static_cast<T>(length / max_steps);
    count_ = static_cast<int32_t>(std::ceil((fits ? wanted : double{max_steps}) + static_cast<double>(shift_)));
    count_ = count_ > 0 ? count_ : 1;
  }

  LG_HD bool next(T* begin, T* end) {
    while (next_ < count_) {
      const int32_t k = next_++;
      *begin = edge(k);
      *end = edge(k + 1);
      if (!(*end > *begin)) continue;
      if (!sampler_.words) return true;
      T leaves;
      if (occupied(T(0.5) * (*begin + *end), &leaves)) return true;
      // Half a step less than could be skipped, because the cell of a segment's midpoint decides.
      const T skipped = (leaves - ray_.begin) / step_ + shift_ - 1;
      if (skipped > static_cast<T>(next_)) {
        next_ = skipped < static_cast<T>(count_) ? static_cast<int32_t>(skipped) : count_ - 1;
      }
    }
    return false;
  }

 private:
  LG_HD T edge(int32_t k) const {
    if (k == 0) return ray_.begin;
    if (k == count_) return ray_.end;
    const T at = ray_.begin + (static_cast<T>(k) - shift_) * step_;
    return at < ray_.end ? at : ray_.end;
  }

  // Whether the cell that contains the ray at t is occupied. If its whole brick is empty, also where the ray leaves the
  // brick.
  LG_HD bool occupied(T t, T* leaves) const {
    T point[3], place[3];
    ray_.point(t, point);
    int level = 0;
    while (!inside(level, point, place) && level < sampler_.levels - 1) ++level;
    int32_t cell[3];
    LG_UNROLL
    for (int a = 0; a < 3; ++a) {
      const T at = place[a] * static_cast<T>(sampler_.size[a]), last = static_cast<T>(sampler_.size[a] - 1);
      cell[a] = static_cast<int32_t>(at > 0 ? (at < last ? at : last) : T(0));
    }
    const uint64_t word = sampler_.grid(level).word(cell);
    *leaves = word == 0 && !meets_finer(level, cell) ? brick_end(level, cell) : t;
    return Occupancy::has(word, cell);
  }

  // Whether a point is in a level's box, and its position there, from 0 to 1 along each axis.
  LG_HD bool inside(int level, const T* point, T* place) const {
    bool in = true;
    LG_UNROLL
    for (int a = 0; a < 3; ++a) {
      place[a] = (point[a] - sampler_.low(level, a)) / sampler_.extent(level, a);
      in = in && place[a] >= 0 && place[a] <= 1;
    }
    return in;
  }

  // Whether the next finer level, which covers the middle half of each axis, decides for part of a cell's brick.
  LG_HD bool meets_finer(int level, const int32_t* cell) const {
    bool meets = level > 0;
    LG_UNROLL
    for (int a = 0; a < 3; ++a) {
      const int64_t first = cell[a] / 4 * 4, size = sampler_.size[a];
      meets = meets && 4 * first <= 3 * size && 4 * (first + 4) >= size;
    }
    return meets;
  }

  LG_HD T brick_end(int level, const int32_t* cell) const {
    T end = ray_.end;
    LG_UNROLL
    for (int a = 0; a < 3; ++a) {
      if (ray_.direction[a] == 0) continue;
      const int32_t face = (cell[a] / 4 + (ray_.direction[a] > 0 ? 1 : 0)) * 4, size = sampler_.size[a];
      const T share = static_cast<T>(face < size ? face : size) / static_cast<T>(size);
      const T place = sampler_.low(level, a) + share * sampler_.extent(level, a);
      const T at = (place - ray_.origin[a]) / ray_.direction[a];
      end = at < end ? at : end;
    }
    return end;
  }

  const RaySampler<T>& sampler_;
  Ray<T> ray_;
  T step_ = 0, shift_ = 0;
  int32_t count_ = 0, next_ = 0;
};

template <class T>
struct CountSamples {
  RaySampler<T> sampler;
  int64_t* counts;

  LG_HD void operator()(int64_t ray) const {
    SampleWalk<T> walk(sampler, ray);
    T begin, end;
    int64_t count = 0;
    while (walk.next(&begin, &end)) ++count;
    counts[ray] = count;
  }
};

template <class T>
struct WriteSamples {
  RaySampler<T> sampler;
  const int64_t* offsets;
  int64_t samples;
  T *t_start, *t_end;

  LG_HD void operator()(int64_t ray) const {
    const int64_t last = offsets[ray + 1] < samples ? offsets[ray + 1] : samples;
    SampleWalk<T> walk(sampler, ray);
    T begin, end;
    for (int64_t i = offsets[ray]; i >= 0 && i < last && walk.next(&begin, &end); ++i) {
      t_start[i] = begin;
      t_end[i] = end;
    }
  }
};

}  // namespace lg::field
