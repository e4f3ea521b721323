// Gradients of marching with respect to rays, their limits and the box on the CPU: like PullRay, for sixteen rays at
// once, in blocks of segments.
#pragma once

#include <cstdint>

#include "field/block_cpu.h"
#include "field/grid_gradient_cpu.h"
#include "field/voxel_layout_cpu.h"
#include "math/lanes.h"

namespace lg::field {

// Kept per segment for the backward pass: the derivative of the loss with respect to its weight, and its transmittance.
// The backward pass adds the derivative with respect to its optical depth.
template <class T>
struct WayBack {
  OfSegments<T> gain, behind, by_tau;
};

// Kept per segment if rays or the box need gradients.
template <class T>
struct Course {
  OfSegments<T> begin, end, extinction;
  CellEnds<T> ends;
};

template <class Layout, class T>
class MoveGroup {
  using Row = OfRays<T>;
  using Mask = typename Row::Mask;

 public:
  // depth: gradients with respect to the rays' depths.
  MoveGroup(const March<T>& march, const BlockWalk<T>& walk, const typename Layout::Given& given, const T* depth,
            bool only_limits)
      : march_(march),
        walk_(walk),
        given_(given),
        depth_(Row::load(depth)),
        ends_alone_(only_limits && march.step == 0) {
    for (int r = 0; r < block_rays; ++r) {
      const Ray<T>& ray = walk.ray(r);
      const bool hits = ray.hits;
      norm_.set(r, hits ? ray.norm : T(0));
      last_.set(r, ray.end);
      from_axis_.set(r, hits ? first_point : nowhere);
      for (int a = 0; a < 3; ++a) {
        origin_[a].set(r, hits ? ray.origin[a] : T(0));
        direction_[a].set(r, hits ? ray.direction[a] : T(0));
      }
    }
  }

  // Adds a block of segments; blocks are added front to back.
  void add(const Gifts<T>* gifts, const WayBack<T>& back, const Course<T>& course) {
    if (ends_alone_ && !has_ends(course)) return;
    const bool exact = march_.step == 0;
    OfSegments<T> slopes[3][3];  // at the middle, and the first and the last point of a cell
    for (int k = 0; k < (exact ? 3 : 1); ++k) {
      Layout::find_slopes(march_.volume, given_, gifts[k].places, gifts[k].density, gifts[k].weight, walk_.hits(),
                          slopes[k]);
    }
    for (int i = 0; i < block_depth; ++i) {
      const Row begin = course.begin.row(i), end = course.end.row(i), length = end - begin;
      const Mask counts = Row(T(0)) < length;
      const Row by_length = back.by_tau.row(i) * course.extinction.row(i), stretch = by_length * norm_;
      by_norm_ += only(counts, by_length * length);
      const Row middle = Row(T(0.5)) * (begin + end);
      const Row by_middle = gifts->weight.row(i) * depth_ + move_sample(slopes[0], i, middle);
      Row by_begin = Row(T(0.5)) * by_middle - stretch, by_end = Row(T(0.5)) * by_middle + stretch;
      if (exact) by_begin += move_sample(slopes[1], i, begin), by_end += move_sample(slopes[2], i, end);
      by_begin = only(counts, by_begin), by_end = only(counts, by_end);
      if (exact) {
        by_first_ += only(from_axis_ == Row(first_point), by_begin);
        move_plane(by_begin, begin, from_axis_, from_share_);
        const Row axis = course.ends.axis.row(i), share = course.ends.share.row(i);
        by_last_ += only(axis == Row(last_point), by_end);
        move_plane(by_end, end, axis, share);
        from_axis_ = select(counts, axis, from_axis_), from_share_ = select(counts, share, from_share_);
      } else {
        // All ends of steps but the last move with the ray's beginning.
        const Mask at_last = end == last_;
        by_first_ += by_begin + only(!at_last, by_end);
        by_last_ += only(at_last, by_end);
      }
    }
  }

  // Writes one ray's gradient. Returns false if a value is not finite.
  bool arrive(int r, RayGradient<T>& out) const {
    const Ray<T>& ray = walk_.ray(r);
    out = {};
    if (!ray.hits) return true;
    T all = by_first_[r] + by_last_[r] + by_norm_[r];
    for (int a = 0; a < 3; ++a) {
      out.origin[a] = by_origin_[a][r];
      out.direction[a] = by_direction_[a][r] + by_norm_[r] * (ray.direction[a] / ray.norm);
      out.box[a] = by_box_[a][r];
      out.box[3 + a] = by_box_[3 + a][r];
      all += out.origin[a] + out.direction[a] + out.box[a] + out.box[3 + a];
    }
    pull_event(ray, march_.volume, ray.at_begin, 0, ray.begin, by_first_[r], &out);
    pull_event(ray, march_.volume, ray.at_end, 1, ray.end, by_last_[r], &out);
    return is_finite(all);
  }

 private:
  // Used instead of a plane's axis: the first point of a ray, its last one, and none.
  static constexpr T last_point = -1, first_point = -2, nowhere = -3;

  // Whether any ray begins or ends in a block.
  bool has_ends(const Course<T>& course) const {
    Mask found = from_axis_ == Row(first_point);
    for (int i = 0; i < block_depth; ++i) {
      found |= (course.ends.axis.row(i) == Row(last_point)) & (course.begin.row(i) < course.end.row(i));
    }
    return any(found);
  }

  // Samples at t move with the ray and relative to the box. Returns the derivative with respect to t.
  LG_INLINE Row move_sample(const OfSegments<T> (&slope)[3], int i, const Row& t) {
    const Volume<T>& v = march_.volume;
    Row by_t(T(0));
    for (int a = 0; a < 3; ++a) {
      const Row share = (origin_[a] + t * direction_[a] - Row(v.low(a))) / Row(v.extent(a));
      const Row size(static_cast<T>(v.size[a])), at = share * size - Row(T(0.5));
      const Mask inside = (Row(T(0)) < at) & (at < size - Row(T(1)));
      const Row along = only(inside, slope[a].row(i) * size / Row(v.extent(a)));
      by_origin_[a] += along;
      by_direction_[a] += t * along;
      by_box_[a] -= (Row(T(1)) - share) * along;
      by_box_[3 + a] -= share * along;
      by_t += along * direction_[a];
    }
    return by_t;
  }

  // Passes derivatives with respect to t on to the rays and to the planes that they cross at t.
  LG_INLINE void move_plane(const Row& by_t, const Row& t, const Row& axis, const Row& share) {
    for (int a = 0; a < 3; ++a) {
      const Row along = only(axis == Row(static_cast<T>(a)), by_t / direction_[a]);
      by_box_[a] += (Row(T(1)) - share) * along;
      by_box_[3 + a] += share * along;
      by_origin_[a] -= along;
      by_direction_[a] -= t * along;
    }
  }

  const March<T>& march_;
  const BlockWalk<T>& walk_;
  const typename Layout::Given& given_;
  const Row depth_;
  const bool ends_alone_;  // only the first and the last segment of each ray matter
  Row origin_[3], direction_[3], norm_, last_;
  Row from_axis_, from_share_ = T(0);  // of the plane at which the next segments begin
  Row by_first_ = T(0), by_last_ = T(0), by_norm_ = T(0);
  Row by_origin_[3] = {T(0), T(0), T(0)}, by_direction_[3] = {T(0), T(0), T(0)};
  Row by_box_[6] = {T(0), T(0), T(0), T(0), T(0), T(0)};
};

}  // namespace lg::field
