// Emission and absorption along a ray through a grid, and the gradient. No samples are kept: both passes interpolate
// anew.
//
// Segment i of length l_i and extinction s_i absorbs the fraction a_i = 1 - exp(-s_i l_i) of the light that reaches it;
// T_i is the product of 1 - a_j over the segments in front of it. With h_i the derivative of the loss with respect to
// its weight T_i a_i, the derivative with respect to its optical depth is T_{i+1} h_i - R_i, where R_i is the
// contribution of the segments behind it: the sum of T_j a_j h_j over j > i.
#pragma once

#include <cstdint>

#include "field/absorption.h"
#include "field/occupancy.h"
#include "field/ray.h"
#include "field/volume.h"
#include "math/scalar.h"
#include "runtime/config.h"

namespace lg::field {

template <class T>
struct March {
  Volume<T> volume;
  Occupancy occupancy;
  const T *origins, *directions, *limits;
  int64_t rays;
  double step;
  T min_transmittance;
  Activation activation;

  LG_HD Ray<T> ray(int64_t i) const { return make_ray(volume, origins + 3 * i, directions + 3 * i, limits + 2 * i); }
  LG_HD int64_t features() const { return volume.channels - 1; }
};

// A point on a ray, and the extinction there.
template <class T>
struct Sample {
  Place<T> place;
  T weight[8];
  T share;  // as a fraction of the segment's extinction
  Extinction<T> extinction;
};

template <class T>
LG_HD Sample<T> sample_at(const March<T>& march, const Ray<T>& ray, T t, T share) {
  Sample<T> sample;
  T point[3];
  ray.point(t, point);
  sample.place = locate(march.volume, point);
  weights_of(sample.place.fraction, sample.weight);
  sample.share = share;
  sample.extinction = extinction_of(march.activation, interpolate(march.volume, sample.place, sample.weight, 0));
  return sample;
}

// A segment's samples: at its midpoint and, if segments are cells, at its ends. Along a cell, the extinction without
// activation is a cubic polynomial, for which Simpson's rule is exact.
template <class T>
struct Samples {
  Sample<T> middle, first, last;
  T extinction;
};

template <class T>
LG_HD Samples<T> samples_of(const March<T>& march, const Ray<T>& ray, const Segment<T>& segment) {
  Samples<T> out;
  const bool exact = march.step == 0;
  out.middle = sample_at(march, ray, segment.middle(), exact ? T(2) / T(3) : T(1));
  out.extinction = out.middle.share * out.middle.extinction.value;
  if (exact) {
    out.first = sample_at(march, ray, segment.begin, T(1) / T(6));
    out.last = sample_at(march, ray, segment.end, T(1) / T(6));
    out.extinction += T(1) / T(6) * (out.first.extinction.value + out.last.extinction.value);
  }
  return out;
}

// ---- Forward -----------------------------------------------------------------------------------------------

template <class T>
struct MarchForward {
  March<T> march;
  T *features, *alpha, *depth, *median;

  LG_HD_LARGE void operator()(int64_t item) const {
    const Ray<T> ray = march.ray(item);
    const int64_t channels = march.features();
    T* out = features + item * channels;
    for (int64_t c = 0; c < channels; ++c) out[c] = 0;
    T passed = 1, sum_t = 0, middle = 0;
    Walk<T> walk(march.volume, march.occupancy, ray, march.step);
    Segment<T> segment;
    while (passed > march.min_transmittance && walk.next(&segment)) {
      const Samples<T> samples = samples_of(march, ray, segment);
      const T length = segment.end - segment.begin, tau = samples.extinction * ray.norm * length;
      const Absorption<T> absorption = absorb(tau);
      const T weight = passed * absorption.absorbed, behind = passed * absorption.passed;
      if (weight != 0) {
        const Sample<T>& at = samples.middle;
        for (int64_t c = 0; c < channels; ++c) {
          out[c] += weight * interpolate(march.volume, at.place, at.weight, c + 1);
        }
      }
      sum_t += weight * segment.middle();
      if (passed >= T(0.5) && behind < T(0.5)) middle = segment.begin + length * (std::log(2 * passed) / tau);
      passed = behind;
    }
    alpha[item] = 1 - passed;
    depth[item] = sum_t;
    median[item] = middle;
  }
};

// ---- Backward ----------------------------------------------------------------------------------------------

// The gradients of the ray and the box.
template <class T>
struct RayGradient {
  T origin[3] = {0, 0, 0}, direction[3] = {0, 0, 0}, limits[2] = {0, 0}, box[6] = {0, 0, 0, 0, 0, 0}, norm = 0;
};

// end: 0 or 1, of the ray.
template <class T>
LG_HD void pull_event(const Ray<T>& ray, const Volume<T>& v, const Event& event, int end, T t, T grad,
                      RayGradient<T>* out) {
  if (event.axis < 0) {
    out->limits[end] += grad;
    return;
  }
  const int a = event.axis;
  const T along = finite(grad / ray.direction[a]), share = share_of<T>(event, v.size[a]);
  out->box[a] += (1 - share) * along;
  out->box[3 + a] += share * along;
  out->origin[a] -= along;
  out->direction[a] -= t * along;
}

// The gradients of the loss with respect to the ray's outputs.
template <class T>
struct OutputGradients {
  const T *features, *alpha, *depth;  // null: zero
};

// Accumulates one ray's gradient. sink.add(place, weight, density, weight of the features, ray) receives the
// contributions to the grid.
template <class T, class Sink>
class PullRay {
 public:
  LG_HD PullRay(const March<T>& march, const OutputGradients<T>& given, int64_t item, bool moves, Sink& sink)
      : march_(march), ray_(march.ray(item)), item_(item), moves_(moves), sink_(sink) {
    features_ = given.features ? given.features + item * march.features() : nullptr;
    alpha_ = given.alpha ? given.alpha[item] : T(0);
    depth_ = given.depth ? given.depth[item] : T(0);
  }

  LG_HD_LARGE void run(RayGradient<T>* out) {
    double total = 0;
    visit([&](const Segment<T>&, const Samples<T>&, T, const Absorption<T>&, T weight, T gain) {
      total += static_cast<double>(weight) * static_cast<double>(gain);
    });
    double before = 0;
    visit([&](const Segment<T>& segment, const Samples<T>& samples, T passed, const Absorption<T>& absorption, T weight,
              T gain) {
      before += static_cast<double>(weight) * static_cast<double>(gain);
      const T behind = static_cast<T>(total - before);
      pull(segment, samples, weight, finite(passed * absorption.passed * gain - behind), out);
    });
    for (int a = 0; a < 3; ++a) out->direction[a] += out->norm * (ray_.direction[a] / ray_.norm);
  }

 private:
  template <class Visitor>
  LG_HD void visit(Visitor&& visitor) {
    Walk<T> walk(march_.volume, march_.occupancy, ray_, march_.step);
    Segment<T> segment;
    T passed = 1;
    while (passed > march_.min_transmittance && walk.next(&segment)) {
      const Samples<T> samples = samples_of(march_, ray_, segment);
      const Absorption<T> absorption = absorb(samples.extinction * ray_.norm * (segment.end - segment.begin));
      visitor(segment, samples, passed, absorption, passed * absorption.absorbed, gain_of(segment, samples.middle));
      passed = passed * absorption.passed;
    }
  }

  // The derivative of the loss with respect to a segment's weight.
  LG_HD T gain_of(const Segment<T>& segment, const Sample<T>& at) const {
    T gain = alpha_ + depth_ * segment.middle();
    for (int64_t c = 0; features_ && c < march_.features(); ++c) {
      gain += features_[c] * interpolate(march_.volume, at.place, at.weight, c + 1);
    }
    return finite(gain);
  }

  // grad_tau: with respect to the segment's optical depth.
  LG_HD void pull(const Segment<T>& segment, const Samples<T>& samples, T weight, T grad_tau, RayGradient<T>* out) {
    const T length = segment.end - segment.begin, grad_extinction = grad_tau * ray_.norm * length;
    T begin = 0, end = 0, middle = weight * depth_;
    pull_sample(samples.middle, segment.middle(), grad_extinction, weight, &middle, out);
    if (march_.step == 0) {
      pull_sample(samples.first, segment.begin, grad_extinction, T(0), &begin, out);
      pull_sample(samples.last, segment.end, grad_extinction, T(0), &end, out);
    }
    if (!moves_) return;
    out->norm += grad_tau * samples.extinction * length;
    const T grad_length = grad_tau * samples.extinction * ray_.norm;
    pull_event(ray_, march_.volume, segment.at_begin, 0, time_at(segment.at_begin, segment.begin, ray_.begin),
               begin + T(0.5) * middle - grad_length, out);
    const bool last = segment.end == ray_.end;
    pull_event(ray_, march_.volume, segment.at_end, last ? 1 : 0,
               time_at(segment.at_end, segment.end, last ? ray_.end : ray_.begin), end + T(0.5) * middle + grad_length,
               out);
  }

  // The parameter of the event: the ends of steps move with the ray's start.
  LG_HD T time_at(const Event& event, T t, T of_ray) const { return event.plane < 0 ? of_ray : t; }

  LG_HD void pull_sample(const Sample<T>& sample, T t, T grad_extinction, T weight, T* grad_t, RayGradient<T>* out) {
    const T density = finite(grad_extinction * sample.share * sample.extinction.slope);
    weight = finite(weight);
    if (density == 0 && weight == 0) return;
    sink_.add(sample.place.cell, sample.place.fraction, density, weight, item_);
    if (!moves_) return;
    T corners[8], slope[3];
    const Volume<T>& v = march_.volume;
    for (int k = 0; k < 8; ++k) {
      const T* values = v.values + sample.place.first + corner(v, k);
      T sum = density * values[0];
      for (int64_t c = 0; features_ && c < march_.features(); ++c) sum += weight * features_[c] * values[c + 1];
      corners[k] = sum;
    }
    slopes_of(sample.place, corners, slope);
    for (int a = 0; a < 3; ++a) {
      const T along = finite(slope[a] * sample.place.slope[a] / v.extent(a));
      const T share = (ray_.origin[a] + t * ray_.direction[a] - v.low(a)) / v.extent(a);
      out->origin[a] += along;
      out->direction[a] += t * along;
      out->box[a] -= (1 - share) * along;
      out->box[3 + a] -= share * along;
      *grad_t += along * ray_.direction[a];
    }
  }

  const March<T>& march_;
  Ray<T> ray_;
  int64_t item_;
  bool moves_;
  Sink& sink_;
  const T* features_;
  T alpha_, depth_;
};

// Destinations of gradients; null: not wanted.
template <class T>
struct MarchGradients {
  T *grid, *origins, *directions, *box, *limits;

  LG_HD bool moves() const { return origins || directions || box || limits; }

  LG_HD void write(int64_t item, const RayGradient<T>& ray) const {
    for (int a = 0; a < 3; ++a) {
      if (origins) origins[3 * item + a] = finite(ray.origin[a]);
      if (directions) directions[3 * item + a] = finite(ray.direction[a]);
    }
    for (int k = 0; limits && k < 2; ++k) limits[2 * item + k] = finite(ray.limits[k]);
  }
};

template <class T>
March<T> make_march(const void* grid, const void* origins, const void* directions, const void* box, const void* limits,
                    const int64_t* occupancy, int64_t rays, int64_t slices, int64_t rows, int64_t columns,
                    int64_t channels, int64_t occupied_slices, int64_t occupied_rows, int64_t occupied_columns,
                    double step, int32_t activation, double min_transmittance) {
  return {make_volume<T>(grid, box, slices, rows, columns, channels),
          make_occupancy(occupancy, occupied_slices, occupied_rows, occupied_columns),
          static_cast<const T*>(origins),
          static_cast<const T*>(directions),
          static_cast<const T*>(limits),
          rays,
          step,
          static_cast<T>(min_transmittance),
          static_cast<Activation>(activation)};
}

}  // namespace lg::field
