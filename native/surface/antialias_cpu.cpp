// antialias on the CPU. Silhouette edges are followed across the image, which yields the pairs of neighbouring pixels
// that an edge passes between. Only these pairs are searched for crossings. Memory grows with the silhouettes and the
// image's width, not with its area.
#include "surface/antialias.h"

#include <algorithm>
#include <vector>

#include "lumigrad.h"
#include "parallel/copy_values.h"
#include "parallel/triangle_gradients.h"
#include "runtime/memory.h"
#include "runtime/status.h"
#include "runtime/threads.h"
#include "surface/band_scan_cpu.h"
#include "surface/pair_list_cpu.h"
#include "surface/silhouettes_cpu.h"

namespace lg::surface {
namespace {

template <class T>
void forward(int32_t threads, const AntialiasScene<T>& s, const PairNotes<int64_t>& notes, T* out) {
  const PairList<T> pairs(threads, s);
  std::vector<Array<PairKey>> crossed(static_cast<size_t>(pairs.bands()));
  std::vector<BandScanner<T>> scanners = make_scanners(threads, s);
  parallel_for(threads, pairs.bands(), [&](int64_t band, int worker) {
    scanners[worker].scan(pairs, band, &crossed[band], [&](int64_t view, int64_t row, RowBlends& blends) {
      const int64_t first = s.image.pixel(view, row, 0);
      T* result = out + first * s.channels;
      std::copy_n(s.color + first * s.channels, s.image.width * s.channels, result);
      blends.consume([&](const PixelBlend& blend) {
        blend_pixel(s, first + blend.column, blend.weight, result + blend.column * s.channels);
      });
    });
  });
  PairList<T>::keep(crossed, notes);
}

// ---- Backward -------------------------------------------------------------------------------------------

// The gradients due to one pixel that takes colour from its neighbours.
template <class T>
class PixelGradients {
 public:
  // grad_color: holds grad_out at first; grad_color, records: null where not wanted.
  PixelGradients(const AntialiasScene<T>& s, const T* grad_out, T* grad_color, TriangleGradients<T>* records)
      : s_(s), grad_out_(grad_out), grad_color_(grad_color), records_(records) {}

  void add(int64_t view, int64_t row, const PixelBlend& blend, int worker) {
    const int64_t pixel = s_.image.pixel(view, row, blend.column);
    if (grad_color_) move_color_gradient(pixel, blend.weight);
    if (!records_) return;
    double grad[4];
    weight_gradients(s_, grad_out_, pixel, blend.weight, blend.crossing, grad);
    for (int side = 0; side < 4; ++side) {
      if (!blend.crossing[side].found()) continue;
      T value[8];
      const PixelPair pair = pair_on_side(view, row, blend.column, side);
      const Crossing& crossing = blend.crossing[side];
      if (edge_gradient(s_, pair, side, crossing, grad[side], value)) add_to_record(crossing, value, worker);
    }
  }

 private:
  // Moves gradient from the pixel that takes colour to those that give it.
  void move_color_gradient(int64_t here, const double weight[4]) {
    const double divisor = weight_divisor(weight, s_.own_edges);
    const int64_t n = s_.channels;
    for (int side = 0; side < 4; ++side) {
      if (weight[side] == 0) continue;
      const T share = static_cast<T>(weight[side] / divisor);
      const int64_t other = neighbour(here, side, s_.image.width);
      for (int64_t c = 0; c < n; ++c) {
        const T moved = share * grad_out_[here * n + c];
        grad_color_[here * n + c] -= moved;
        grad_color_[other * n + c] += moved;
      }
    }
  }

  void add_to_record(const Crossing& crossing, const T value[8], int worker) {
    T* record = records_->values(worker, records_->find(worker, crossing.triangle));
    T *a = record + 4 * ((crossing.edge + 1) % 3), *b = record + 4 * ((crossing.edge + 2) % 3);
    for (int i = 0; i < 4; ++i) {
      a[i] += value[i];
      b[i] += value[4 + i];
    }
  }

  const AntialiasScene<T>& s_;
  const T* grad_out_;
  T* grad_color_;
  TriangleGradients<T>* records_;
};

template <class T>
void backward(int32_t threads, const AntialiasScene<T>& s, const PairNotes<const int64_t>& notes, const T* grad_out,
              T* grad_color, T* grad_pos) {
  if (grad_color) copy_values(threads, s.image.pixels() * s.channels, grad_out, grad_color);
  const PairList<T> pairs(threads, s, notes);
  const int64_t per_view = pairs.bands_per_view();
  TriangleGradients<T> records(threads, pairs.bands(), 12);
  PixelGradients<T> gradients(s, grad_out, grad_color, grad_pos ? &records : nullptr);
  std::vector<BandScanner<T>> scanners = make_scanners(threads, s);
  // A band also writes to the last row of the band above it and to the first row of the band below. Bands are therefore
  // processed in two rounds, and no two bands of a round are neighbours.
  for (int64_t round = 0; round < 2; ++round) {
    const int64_t in_round = (per_view - round + 1) / 2;
    parallel_for(threads, s.image.views * in_round, [&](int64_t task, int worker) {
      const int64_t view = task / in_round, band = view * per_view + task % in_round * 2 + round;
      records.begin_chunk(band, worker, view);
      scanners[worker].scan(pairs, band, nullptr, [&](int64_t, int64_t row, RowBlends& blends) {
        blends.consume([&](const PixelBlend& blend) { gradients.add(view, row, blend, worker); });
      });
      records.end_chunk(band, worker);
    });
  }
  if (grad_pos) records.scatter(threads, s.mesh.tri, s.mesh.vertices, s.image.views, s.mesh.shared, 4, grad_pos);
}

}  // namespace
}  // namespace lg::surface

int32_t lg_antialias_forward(lg_call* call, int32_t dtype, const void* color, const int32_t* frag_tri,
                             const void* depth, const void* rast, const void* pos, const int32_t* tri,
                             const int32_t* topology, int32_t shared_positions, int64_t views, int64_t vertices,
                             int64_t triangles, int64_t height, int64_t width, int64_t channels, int32_t own_edges,
                             int64_t note_bytes, void* out, uint8_t* notes) {
  return lg::dispatch(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const auto scene =
        lg::surface::make_antialias_scene<T>(color, frag_tri, depth, rast, pos, tri, topology, shared_positions, views,
                                             vertices, triangles, height, width, channels, own_edges, notes);
    lg::surface::make_flags(call->threads, scene, notes);
    lg::surface::forward(call->threads, scene, lg::surface::pair_notes<int64_t>(scene, notes, note_bytes),
                         static_cast<T*>(out));
  });
}

int32_t lg_antialias_backward(lg_call* call, int32_t dtype, const void* color, const int32_t* frag_tri,
                              const void* depth, const void* rast, const void* pos, const int32_t* tri,
                              const int32_t* topology, const uint8_t* notes, int32_t shared_positions, int64_t views,
                              int64_t vertices, int64_t triangles, int64_t height, int64_t width, int64_t channels,
                              int32_t own_edges, int64_t note_bytes, const void* grad_out, void* grad_color,
                              void* grad_pos) {
  return lg::dispatch(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const auto scene =
        lg::surface::make_antialias_scene<T>(color, frag_tri, depth, rast, pos, tri, topology, shared_positions, views,
                                             vertices, triangles, height, width, channels, own_edges, notes);
    lg::surface::backward(call->threads, scene, lg::surface::pair_notes<const int64_t>(scene, notes, note_bytes),
                          static_cast<const T*>(grad_out), static_cast<T*>(grad_color), static_cast<T*>(grad_pos));
  });
}
