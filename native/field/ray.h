// A ray through a box, cut into segments: of fixed length, or one per cell between the centres of voxels.
#pragma once

#include <cmath>
#include <cstdint>

#include "field/occupancy.h"
#include "field/volume.h"
#include "math/scalar.h"
#include "runtime/config.h"

namespace lg::field {

// Longer rays take longer steps.
constexpr int32_t max_steps = 65536;

// The event at which a ray or a segment ends: the caller's limit, a face of the box, or a plane of centres.
struct Event {
  int32_t axis;   // -1: the limit
  int32_t plane;  // -1: the box's first face, -2: its last one, or the number of a plane of centres
};
constexpr Event limit_event = {-1, 0};

template <class T>
struct Ray {
  T origin[3], direction[3], norm;
  T begin, end;
  Event at_begin, at_end;
  bool hits;

  LG_HD void point(T t, T* out) const {
    LG_UNROLL
    for (int a = 0; a < 3; ++a) out[a] = origin[a] + t * direction[a];
  }
};

// The position of an event's plane in the box: 0 at the first face, 1 at the last.
template <class T>
LG_HD T share_of(const Event& event, int32_t size) {
  if (event.plane == -1) return 0;
  if (event.plane == -2) return 1;
  return (static_cast<T>(event.plane) + T(0.5)) / static_cast<T>(size);
}

// Where a ray meets an event's plane.
template <class T>
LG_HD T time_of(const Ray<T>& ray, const Volume<T>& v, const Event& event) {
  const int a = event.axis;
  return (v.low(a) + share_of<T>(event, v.size[a]) * v.extent(a) - ray.origin[a]) / ray.direction[a];
}

template <class T>
LG_HD Ray<T> make_ray(const Volume<T>& v, const T* origin, const T* direction, const T* limits) {
  Ray<T> ray;
  ray.begin = limits[0];
  ray.end = limits[1];
  ray.at_begin = ray.at_end = limit_event;
  T square = 0, all = 0;
  for (int a = 0; a < 3; ++a) {
    ray.origin[a] = origin[a];
    ray.direction[a] = direction[a];
    square += direction[a] * direction[a];
    all += origin[a] + v.low(a);
  }
  ray.norm = root(square);
  ray.hits = ray.norm > 0 && ray.norm - ray.norm == 0 && all - all == 0 && limits[0] < limits[1];
  for (int a = 0; a < 3 && ray.hits; ++a) {
    const T extent = v.extent(a);
    ray.hits = extent > 0 && extent - extent == 0;
    if (direction[a] == 0) {
      ray.hits = ray.hits && origin[a] >= v.low(a) && origin[a] <= v.box[3 + a];
      continue;
    }
    const bool forward = direction[a] > 0;
    const Event in = {a, forward ? -1 : -2}, out = {a, forward ? -2 : -1};
    const T enters = time_of(ray, v, in), leaves = time_of(ray, v, out);
    if (!(enters <= ray.begin)) ray.begin = enters, ray.at_begin = in;
    if (!(leaves >= ray.end)) ray.end = leaves, ray.at_end = out;
  }
  const T length = ray.end - ray.begin;
  ray.hits = ray.hits && length > 0 && length - length == 0;
  return ray;
}

template <class T>
struct Segment {
  T begin, end;
  Event at_begin, at_end;

  LG_HD T middle() const { return T(0.5) * (begin + end); }
};

// The segments of a ray from front to back, without those in empty cells.
template <class T>
class Walk {
 public:
  // step 0: one segment per cell
  LG_HD Walk(const Volume<T>& v, const Occupancy& occupancy, const Ray<T>& ray, double step)
      : v_(v), occupancy_(occupancy), ray_(ray), exact_(step == 0), next_(0), from_(ray.begin), from_at_(ray.at_begin) {
    if (!ray.hits) {
      count_ = 0;
    } else if (exact_) {
      count_ = v.size[0] + v.size[1] + v.size[2] + 1;
      for (int a = 0; a < 3; ++a) first_plane(a);
    } else {
      const double length = static_cast<double>(ray.end - ray.begin),
                   wanted = length / static_cast<double>(static_cast<T>(step));
      const bool fits = wanted <= max_steps;
      count_ = fits ? static_cast<int32_t>(std::ceil(wanted)) : max_steps;
      count_ = count_ > 0 ? count_ : 1;
      step_ = fits ? static_cast<T>(step) : static_cast<T>(length / max_steps);
    }
    stop_ = count_;
    if (!exact_ && occupancy.words && count_ > 0) leave_out_ends();
  }

  LG_HD bool next(Segment<T>* out) { return exact_ ? next_cell(out) : next_step(out); }
  // The next occupied segments, at most `most`; returns their number. Those after the last one have no length.
  template <int32_t most>
  LG_HD int32_t next_block(T* begin, T* end) {
    return exact_ ? next_cells<most>(begin, end) : next_occupied<most>(begin, end);
  }
  LG_HD int32_t count() const { return count_; }
  LG_HD T step() const { return step_; }
  // For cells: the next plane of centres along an axis.
  LG_HD int32_t plane(int axis) const { return plane_[axis]; }

 private:
  // The next steps, occupied or not. Those after the last one have no length.
  template <int32_t most>
  LG_HD void steps(T* begin, T* end) const {
    const int32_t first = next_, left = count_ - next_;
    const T from = ray_.begin, to = ray_.end, step = step_;
    LG_VECTORIZE
    for (int32_t i = 0; i < most; ++i) {
      begin[i] = i < left ? from + static_cast<T>(first + i) * step : to;
      end[i] = i + 1 < left ? from + static_cast<T>(first + i + 1) * step : to;
    }
  }

  // Tests the cells of many steps at once, which is faster than leaping over empty bricks one by one.
  template <int32_t most>
  LG_HD int32_t next_occupied(T* begin, T* end) {
    int32_t n = 0;
    while (n < most && next_ < stop_) {
      T from[most], to[most];
      int32_t cells[3][most];
      steps<most>(from, to);
      for (int a = 0; a < 3; ++a) cells_of<most>(a, from, to, cells[a]);
      const int32_t left = stop_ - next_, tried = left < most ? left : most;
      int32_t i = 0;
      for (; i < tried && n < most; ++i) {
        const int32_t cell[3] = {cells[0][i], cells[1][i], cells[2][i]};
        begin[n] = from[i], end[n] = to[i];
        n += Occupancy::has(occupancy_.word(cell), cell) ? 1 : 0;
      }
      next_ += i;
    }
    fill<most>(n, begin, end);
    return n;
  }

  template <int32_t most>
  LG_HD int32_t next_cells(T* begin, T* end) {
    int32_t n = 0;
    Segment<T> segment;
    for (; n < most && next_cell(&segment); ++n) begin[n] = segment.begin, end[n] = segment.end;
    fill<most>(n, begin, end);
    return n;
  }

  template <int32_t most>
  LG_HD static void fill(int32_t n, T* begin, T* end) {
    for (int32_t i = n; n > 0 && i < most; ++i) begin[i] = end[i] = end[n - 1];
  }

  // The cells along an axis that contain the midpoints of segments.
  template <int32_t most>
  LG_HD void cells_of(int a, const T* begin, const T* end, int32_t* cell) const {
    const T origin = ray_.origin[a], along = ray_.direction[a], low = v_.low(a), extent = v_.extent(a);
    const T size = static_cast<T>(occupancy_.size[a]), last = static_cast<T>(occupancy_.size[a] - 1);
    LG_VECTORIZE
    for (int32_t i = 0; i < most; ++i) {
      const T place = (origin + T(0.5) * (begin[i] + end[i]) * along - low) / extent, at = place * size;
      const T below = at < last ? at : last;
      cell[i] = static_cast<int32_t>(below > 0 ? below : T(0));
    }
  }

  // Leaves out the steps in front of the occupied cells and behind them.
  LG_HD void leave_out_ends() {
    T enters = ray_.begin, leaves = ray_.end;
    LG_UNROLL
    for (int a = 0; a < 3; ++a) {
      if (ray_.direction[a] == 0) continue;
      const T low = time_at_cell(a, occupancy_.first[a]), high = time_at_cell(a, occupancy_.after[a]);
      const T near = low < high ? low : high, far = low < high ? high : low;
      enters = near > enters ? near : enters;
      leaves = far < leaves ? far : leaves;
    }
    // A step on either side makes up for rounding, and for midpoints that decide in which cell a step lies.
    const T before = (enters - ray_.begin) / step_ - 1, until = (leaves - ray_.begin) / step_ + 2;
    if (!(before < until)) {
      stop_ = 0;
      return;
    }
    const T count = static_cast<T>(count_);
    next_ = before > 0 ? static_cast<int32_t>(before < count ? before : count) : 0;
    stop_ = until < count ? static_cast<int32_t>(until) : count_;
  }

  // When the ray is at the first face of a cell.
  LG_HD T time_at_cell(int a, int32_t cell) const {
    const T place = v_.low(a) + static_cast<T>(cell) / static_cast<T>(occupancy_.size[a]) * v_.extent(a);
    return (place - ray_.origin[a]) / ray_.direction[a];
  }

  LG_HD bool next_step(Segment<T>* out) {
    while (next_ < stop_) {
      const int32_t k = next_++;
      out->begin = ray_.begin + static_cast<T>(k) * step_;
      const bool last = k + 1 == count_;
      out->end = last ? ray_.end : ray_.begin + static_cast<T>(k + 1) * step_;
      out->at_begin = ray_.at_begin;
      out->at_end = last ? ray_.at_end : ray_.at_begin;
      if (!occupancy_.words) return true;
      T leaves;
      if (occupied(out->middle(), &leaves)) return true;
      // Half a step less than could be skipped, because the cell of a segment's midpoint decides.
      const T skipped = (leaves - ray_.begin) / step_ - 1;
      if (skipped > static_cast<T>(next_))
        next_ = skipped < static_cast<T>(count_) ? static_cast<int32_t>(skipped) : count_ - 1;
    }
    return false;
  }

  LG_HD bool next_cell(Segment<T>* out) {
    while (next_ < count_) {
      ++next_;
      T end = ray_.end;
      Event at_end = ray_.at_end;
      int crossed = -1;
      for (int a = 0; a < 3; ++a) {
        if (plane_[a] < 0 || plane_[a] >= v_.size[a] || ray_.direction[a] == 0) continue;
        const Event event = {a, plane_[a]};
        const T at = time_of(ray_, v_, event);
        if (at < end) end = at, at_end = event, crossed = a;
      }
      if (crossed >= 0) {
        plane_[crossed] += ray_.direction[crossed] > 0 ? 1 : -1;
      } else {
        next_ = count_;
      }
      *out = {from_, end, from_at_, at_end};
      if (!(end > from_)) continue;
      from_ = end;
      from_at_ = at_end;
      T leaves;
      if (!occupancy_.words || occupied(out->middle(), &leaves)) return true;
    }
    return false;
  }

  // The first plane of centres after the ray's start.
  LG_HD void first_plane(int a) {
    const T begin = ray_.origin[a] + ray_.begin * ray_.direction[a];
    const T at = (begin - v_.low(a)) / v_.extent(a) * static_cast<T>(v_.size[a]) - T(0.5);
    const T last = static_cast<T>(v_.size[a] - 1);
    const T kept = at > -1 ? (at < last + 1 ? at : last + 1) : T(-1);
    plane_[a] = static_cast<int32_t>(ray_.direction[a] > 0 ? std::floor(kept) + 1 : std::ceil(kept) - 1);
  }

  // Whether the cell that contains the ray at t is occupied. If its whole brick is empty, also where the ray leaves the
  // brick.
  LG_HD bool occupied(T t, T* leaves) const {
    int32_t cell[3];
    LG_UNROLL
    for (int a = 0; a < 3; ++a) {
      const T place = (ray_.origin[a] + t * ray_.direction[a] - v_.low(a)) / v_.extent(a);
      const T at = place * static_cast<T>(occupancy_.size[a]), last = static_cast<T>(occupancy_.size[a] - 1);
      cell[a] = static_cast<int32_t>(at > 0 ? (at < last ? at : last) : T(0));
    }
    const uint64_t word = occupancy_.word(cell);
    *leaves = word ? t : brick_end(cell);
    return Occupancy::has(word, cell);
  }

  LG_HD T brick_end(const int32_t* cell) const {
    T end = ray_.end;
    LG_UNROLL
    for (int a = 0; a < 3; ++a) {
      if (ray_.direction[a] == 0) continue;
      const T at = time_at_cell(a, (cell[a] / 4 + (ray_.direction[a] > 0 ? 1 : 0)) * 4);
      end = at < end ? at : end;
    }
    return end;
  }

  const Volume<T>& v_;
  const Occupancy& occupancy_;
  const Ray<T>& ray_;
  bool exact_;
  int32_t count_, next_, stop_;  // stop_: behind it no step is occupied
  int32_t plane_[3];
  T step_ = 0;
  T from_;
  Event from_at_;
};

}  // namespace lg::field
