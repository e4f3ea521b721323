// Eight segments of each of sixteen rays at once on the CPU: their positions, interpolated values and absorption.
//
// Rays are in lanes: number 16 i + r belongs to segment i of ray r. Steps from one segment to the next then take one
// instruction for all rays, and data that neighbouring rays access next to each other are still in the cache; slices of
// a grid often lie at such distances that they compete for the same place there.
#pragma once

#include <cstdint>
#include <optional>

#include "field/march.h"
#include "math/lane_integers.h"
#include "math/lanes.h"

namespace lg::field {

constexpr int block_rays = 16, block_depth = 8, block_size = block_rays * block_depth;

// One number per ray, and one per segment.
template <class T>
using OfRays = Lanes<T, block_rays>;
template <class T>
struct OfSegments {
  alignas(64) T values[block_size];

  T& operator[](int j) { return values[j]; }
  const T& operator[](int j) const { return values[j]; }
  LG_INLINE OfRays<T> row(int i) const { return OfRays<T>::load(values + block_rays * i); }
  LG_INLINE void set_row(int i, const OfRays<T>& a) { store(values + block_rays * i, a); }
};

// The positions of samples: the first of the eight voxels around each of them, and the fractions of the way to the
// others.
template <class T>
struct Places {
  OfSegments<int32_t> voxel;
  OfSegments<T> x, y, z;
};

// The values at the samples of segments. share: the fraction of the segment's extinction by which the slope is
// multiplied.
template <class T>
struct Sampled {
  Places<T>* places;
  OfSegments<T> extinction, slope;
};

// The ends of segments that are cells: the axis along which the ray enters the next cell, or -1 at the ray's last
// point, and the position of the plane between the two cells in the box: 0 at the first face, 1 at the last.
template <class T>
struct CellEnds {
  OfSegments<T> axis, share;
};

template <class T>
struct Block {
  uint32_t going;                            // the rays that have segments here, as bits
  OfSegments<T> begin, end, middle, length;  // length: true length
  CellEnds<T>* cell_ends = nullptr;          // null if not needed
  Sampled<T> samples, ends[2];               // at midpoints and, if segments are cells, at their first and last points
  OfSegments<T> values[4];                   // at midpoints: the density and the features, or only the density
  OfSegments<T> passed, absorbed;
};

template <class T>
bool fits_blocks(const March<T>& march) {
  const Volume<T>& v = march.volume;
  return v.value_count() / v.channels < (int64_t{1} << 31);
}

// Sixteen rays in progress.
template <class T>
class BlockWalk {
  using Row = OfRays<T>;
  using Whole = typename Row::Mask;

 public:
  // count: of rays, at most sixteen
  BlockWalk(const March<T>& march, int64_t first, int count) : march_(march), exact_(march.step == 0) {
    const Volume<T>& v = march.volume;
    const T none[3] = {0, 0, 0};
    for (int r = 0; r < block_rays; ++r) {
      rays_[r] = r < count ? march.ray(first + r) : make_ray(v, none, none, none);
      const Ray<T>& ray = rays_[r];
      const Walk<T> walk(v, march.occupancy, ray, march.step);
      if (march.occupancy.words) walks_[r].emplace(walk);
      hits_ |= static_cast<uint32_t>(ray.hits) << r;
      norm_[r] = ray.hits ? ray.norm : T(0);
      from_[r] = ray.hits ? ray.begin : T(0);
      to_[r] = ray.hits ? ray.end : T(0);
      step_[r] = walk.step();
      steps_[r] = static_cast<T>(walk.count());
      for (int a = 0; a < 3; ++a) {
        const T scale = ray.hits ? static_cast<T>(v.size[a]) / v.extent(a) : T(0);
        start_[a][r] = (ray.origin[a] - v.low(a)) * scale - T(0.5);
        along_[a][r] = ray.direction[a] * scale;
        origin_[a][r] = ray.origin[a];
        direction_[a][r] = ray.hits ? ray.direction[a] : T(0);
        plane_[a][r] = exact_ && ray.hits ? static_cast<T>(walk.plane(a)) : T(-1);
      }
    }
  }

  const Ray<T>& ray(int r) const { return rays_[r]; }
  uint32_t hits() const { return hits_; }

  // Finds the next segments of the unfinished rays. False if there are none. Segments after a ray's last one have no
  // length.
  bool next(uint32_t going, Block<T>& block) {
    alignas(64) T begin[block_size], end[block_size];
    if (march_.occupancy.words) {
      block.going = next_occupied(going, begin, end);
    } else if (exact_) {
      block.going = next_cells(going, begin, end, block.cell_ends);
    } else {
      block.going = next_steps(going, begin, end);
    }
    if (block.going == 0) return false;
    const Row norm = Row::load(norm_);
    for (int i = 0; i < block_depth; ++i) {
      const Row first = Row::load(begin + block_rays * i), last = Row::load(end + block_rays * i);
      const Row middle = Row(T(0.5)) * (first + last);
      block.begin.set_row(i, first);
      block.end.set_row(i, last);
      block.middle.set_row(i, middle);
      block.length.set_row(i, (last - first) * norm);
      locate_row(middle, i, *block.samples.places);
      if (!exact_) continue;
      locate_row(first, i, *block.ends[0].places);
      locate_row(last, i, *block.ends[1].places);
    }
    return true;
  }

 private:
  uint32_t next_steps(uint32_t going, T* begin, T* end) {
    const Row from = Row::load(from_), to = Row::load(to_), step = Row::load(step_), steps = Row::load(steps_);
    const auto at = [&](int32_t k) LG_INLINE_LAMBDA {
      const Row number(static_cast<T>(k));
      return select(number < steps, from + number * step, to);
    };
    const uint32_t left = bits_of(Row(static_cast<T>(next_)) < steps);
    Row first = at(next_);
    for (int i = 0; i < block_depth; ++i) {
      const Row last = at(next_ + i + 1);
      store(begin + block_rays * i, first);
      store(end + block_rays * i, last);
      first = last;
    }
    next_ += block_depth;
    return going & left;
  }

  // Like Walk::next(), but keeps segments without length.
  uint32_t next_cells(uint32_t going, T* begin, T* end, CellEnds<T>* ends) {
    const Row to = Row::load(to_);
    Row first = Row::load(from_);
    const uint32_t left = bits_of(first < to);
    for (int i = 0; i < block_depth; ++i) {
      const Row last = maximum(next_plane(to, i, ends), first);
      store(begin + block_rays * i, first);
      store(end + block_rays * i, last);
      first = last;
    }
    store(from_, first);
    return going & left;
  }

  // Finds where rays leave their current cells, and moves them to the next ones.
  LG_INLINE Row next_plane(const Row& to, int i, CellEnds<T>* ends) {
    const Volume<T>& v = march_.volume;
    Row end = to, plane[3], share[3];
    Whole crossed[3];
    for (int a = 0; a < 3; ++a) {
      plane[a] = Row::load(plane_[a]);
      const Row direction = Row::load(direction_[a]), size(static_cast<T>(v.size[a]));
      share[a] = (plane[a] + Row(T(0.5))) / size;
      const Row at = (Row(v.low(a)) + share[a] * Row(v.extent(a)) - Row::load(origin_[a])) / direction;
      crossed[a] = (Row(T(0)) <= plane[a]) & (plane[a] < size) & !(direction == Row(T(0))) & (at < end);
      end = select(crossed[a], at, end);
    }
    crossed[0] = without(without(crossed[0], crossed[1]), crossed[2]);
    crossed[1] = without(crossed[1], crossed[2]);
    for (int a = 0; a < 3; ++a) {
      const Row on = select(Row(T(0)) < Row::load(direction_[a]), Row(T(1)), Row(T(-1)));
      store(plane_[a], plane[a] + only(crossed[a], on));
    }
    if (ends) {
      Row axis(T(-1)), at(T(0));
      for (int a = 0; a < 3; ++a) {
        axis = select(crossed[a], Row(static_cast<T>(a)), axis);
        at = select(crossed[a], share[a], at);
      }
      ends->axis.set_row(i, axis);
      ends->share.set_row(i, at);
    }
    return end;
  }

  uint32_t next_occupied(uint32_t going, T* begin, T* end) {
    uint32_t left = 0;
    for (int r = 0; r < block_rays; ++r) {
      T first[block_depth], last[block_depth];
      const bool goes = going >> r & 1;
      const int32_t n = goes ? walks_[r]->template next_block<block_depth>(first, last) : 0;
      left |= static_cast<uint32_t>(n > 0) << r;
      for (int i = 0; i < block_depth; ++i) {
        begin[block_rays * i + r] = n > 0 ? first[i] : T(0);
        end[block_rays * i + r] = n > 0 ? last[i] : T(0);
      }
    }
    return left;
  }

  // The cell along an axis, and the fraction of the way through it.
  LG_INLINE Whole locate_axis(int a, const Row& t, int i, OfSegments<T>& fraction) const {
    const int32_t size = march_.volume.size[a];
    const Row at = Row::load(start_[a]) + t * Row::load(along_[a]);
    const Row kept = maximum(minimum(at, Row(static_cast<T>(size - 1))), Row(T(0)));  // NaN becomes the last cell
    const Whole cell = minimum(truncated(kept), Whole(size > 1 ? size - 2 : 0));
    fraction.set_row(i, kept - converted<T>(cell));
    return cell;
  }
  LG_INLINE void locate_row(const Row& t, int i, Places<T>& places) const {
    const Volume<T>& v = march_.volume;
    const Whole column = locate_axis(0, t, i, places.x), row = locate_axis(1, t, i, places.y);
    const Whole slice = locate_axis(2, t, i, places.z);
    ((slice * Whole(v.size[1]) + row) * Whole(v.size[0]) + column).store(places.voxel.values + block_rays * i);
  }

  const March<T>& march_;
  const bool exact_;
  Ray<T> rays_[block_rays];
  std::optional<Walk<T>> walks_[block_rays];  // if an occupancy is given
  uint32_t hits_ = 0;
  int32_t next_ = 0;
  alignas(64) T norm_[block_rays], from_[block_rays], to_[block_rays], step_[block_rays], steps_[block_rays];
  alignas(64) T start_[3][block_rays], along_[3][block_rays];
  alignas(64) T origin_[3][block_rays], direction_[3][block_rays], plane_[3][block_rays];  // of cells
};

// ---- Absorption --------------------------------------------------------------------------------------------------

template <Activation activation, class T>
LG_INLINE void activate(const OfSegments<T>& density, T share, Sampled<T>& samples) {
  LG_VECTORIZE
  for (int j = 0; j < block_size; ++j) {
    const Extinction<T> extinction = extinction_of<activation>(density[j]);
    samples.extinction[j] = share * extinction.value;
    samples.slope[j] = share * extinction.slope;
  }
}

template <class T>
void activate(Activation activation, const OfSegments<T>& density, T share, Sampled<T>& samples) {
  switch (activation) {
    case Activation::none:
      return activate<Activation::none>(density, share, samples);
    case Activation::relu:
      return activate<Activation::relu>(density, share, samples);
    case Activation::softplus:
      return activate<Activation::softplus>(density, share, samples);
    case Activation::exponential:
      return activate<Activation::exponential>(density, share, samples);
  }
}

// The interpolated values along a block, and their absorption.
template <class Layout, class T>
void sample_block(const March<T>& march, Block<T>& block) {
  const bool exact = march.step == 0;
  Layout::interpolate(march.volume, block);
  activate(march.activation, block.values[0], exact ? T(2) / T(3) : T(1), block.samples);
  for (int e = 0; exact && e < 2; ++e) {
    OfSegments<T> density;
    Layout::interpolate_density(march.volume, *block.ends[e].places, block.going, density);
    activate(march.activation, density, T(1) / T(6), block.ends[e]);
    LG_VECTORIZE
    for (int j = 0; j < block_size; ++j) block.samples.extinction[j] += block.ends[e].extinction[j];
  }
  LG_VECTORIZE
  for (int j = 0; j < block_size; ++j) {
    const Absorption<T> absorption = absorb(block.samples.extinction[j] * block.length[j]);
    block.passed[j] = absorption.passed;
    block.absorbed[j] = absorption.absorbed;
  }
}

// The remaining light of sixteen rays. A ray ends when too little remains.
template <class T>
class Passage {
  using Row = OfRays<T>;
  using Mask = typename Row::Mask;

 public:
  explicit Passage(T min_transmittance) : least_(min_transmittance) {}

  struct Segment {
    Mask counts;
    Row reaches, weight, behind;
  };

  LG_INLINE Segment pass(const Block<T>& block, int i) {
    Segment out;
    out.counts = live_ = live_ & (Row(least_) < passed_);
    out.reaches = passed_;
    out.weight = only(live_, passed_ * block.absorbed.row(i));
    out.behind = passed_ = select(live_, passed_ * block.passed.row(i), passed_);
    return out;
  }
  const Row& passed() const { return passed_; }
  uint32_t going() const { return bits_of(live_ & (Row(least_) < passed_)); }

 private:
  const T least_;
  Mask live_ = Mask(-1);
  Row passed_ = T(1);
};

}  // namespace lg::field
