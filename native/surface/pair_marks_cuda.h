// One bit for every pair of neighbouring pixels that may have a crossing, on CUDA: how silhouette edges set the bits,
// and how the pixels with set bits are distributed among warps.
#pragma once

#include <cstdint>

#include "runtime/cuda/launch.h"
#include "surface/antialias.h"
#include "surface/silhouette_pairs.h"

namespace lg::surface {

struct PairMarks {
  ImageSize image;
  uint32_t* bits;  // [2, views, height, words]: pairs to the right, and pairs downwards

  LG_HD int64_t words() const { return (image.width + 31) / 32; }  // per row
  LG_HD int64_t all_words() const { return 2 * image.views * image.height * words(); }

  LG_DEVICE int64_t number_of_word(int64_t view, int64_t row, int64_t column, bool vertical) const {
    const int64_t line = ((vertical ? image.views : 0) + view) * image.height + row;
    return line * words() + column / 32;
  }
  LG_DEVICE uint32_t* word(int64_t view, int64_t row, int64_t column, bool vertical) const {
    return bits + number_of_word(view, row, column, vertical);
  }
  // The result is not used, so nothing waits for it. Testing the bit first would make each of an edge's accesses wait
  // for memory.
  LG_DEVICE void set(int64_t view, int64_t row, int64_t column, bool vertical) const {
    atomic_or(word(view, row, column, vertical), 1u << (column % 32));
  }
  LG_DEVICE bool exists(const PixelPair& p) const {
    return p.row >= 0 && p.column >= 0 && p.row + p.vertical < image.height && p.column + !p.vertical < image.width;
  }
  // Whether the pair exists and is marked.
  LG_DEVICE bool has(const PixelPair& p) const {
    return exists(p) && (*word(p.view, p.row, p.column, p.vertical) >> (p.column % 32) & 1);
  }

  // The pixels with a marked pair, among the 32 pixels of a word.
  LG_DEVICE uint32_t pixels_of_word(int64_t view, int64_t row, int64_t number) const {
    if (number >= words()) return 0;
    const uint32_t* right_of = word(view, row, 32 * number, false);
    const uint32_t* below_of = word(view, row, 32 * number, true);
    uint32_t pixels = *right_of | *right_of << 1 | *below_of;
    if (number > 0) pixels |= right_of[-1] >> 31;
    if (row > 0) pixels |= below_of[-words()];
    return pixels;
  }
};

// ---- Marking -----------------------------------------------------------------------------------------------

// Edges that cross more lines than this are followed by the whole warp.
constexpr int64_t short_span = 16;

LG_DEVICE void mark_line(const PairMarks& marks, int64_t view, const LineSpan& span, int64_t line, bool vertical) {
  const PlaceRange places = places_on_line(span, line, vertical ? marks.image.height : marks.image.width);
  for (int64_t place = places.first; place <= places.last; ++place) {
    marks.set(view, vertical ? place : line, vertical ? line : place, vertical);
  }
}

// Called by all lanes of a warp.
LG_DEVICE void mark_span(const PairMarks& marks, int64_t view, const LineSpan& span, bool vertical) {
  const bool is_long = span.last - span.first >= short_span;
  for (int64_t line = span.first; !is_long && line <= span.last; ++line) mark_line(marks, view, span, line, vertical);
  for (uint32_t lanes = warp_ballot(is_long); lanes; lanes &= lanes - 1) {
    const auto from = static_cast<unsigned>(lowest_bit(lanes));
    const LineSpan theirs = {warp_shuffle(span.first, from), warp_shuffle(span.last, from),
                             warp_shuffle(span.origin, from), warp_shuffle(span.across, from),
                             warp_shuffle(span.slope, from)};
    for (int64_t line = theirs.first + lane_id(); line <= theirs.last; line += warp_size) {
      mark_line(marks, view, theirs, line, vertical);
    }
  }
}

template <class T>
__global__ void __launch_bounds__(256)
    mark_silhouettes(const __grid_constant__ AntialiasScene<T> s, const __grid_constant__ PairMarks marks) {
  for (int64_t view = blockIdx.y; view < s.image.views; view += gridDim.y) {
    const SurfaceView<T> surface = s.surface(view);
    for (int64_t base = static_cast<int64_t>(blockIdx.x) * blockDim.x; base < s.mesh.triangles; base += item_step()) {
      const int64_t t = base + threadIdx.x;
      const uint32_t edges = t < s.mesh.triangles ? surface.flags[t] & silhouette_edges : 0u;
      if (!warp_any(edges != 0)) continue;
      for (int k = 0; k < 3; ++k) {
        EdgeSpans spans = {{1, 0, 0, 0, 0}, {1, 0, 0, 0, 0}};
        if (edges >> k & 1) {
          spans = make_edge_spans(surface.corner(t, (k + 1) % 3), surface.corner(t, (k + 2) % 3), s.image.height,
                                  s.image.width);
        }
        mark_span(marks, view, spans.rows, false);
        mark_span(marks, view, spans.columns, true);
      }
    }
  }
}

// The marks must have been cleared.
template <class T>
void mark_pairs(Queue& queue, const AntialiasScene<T>& s, const PairMarks& marks) {
  const dim3 grid(static_cast<unsigned>(std::min(divide_up(s.mesh.triangles, 256), max_grid_x)),
                  static_cast<unsigned>(std::min(s.image.views, max_grid_yz)));
  queue.launch(mark_silhouettes<T>, grid, dim3(256), s, marks);
}

// ---- Marked pixels -----------------------------------------------------------------------------------------

LG_DEVICE int nth_bit(uint32_t mask, int n) {
  for (; n > 0; --n) mask &= mask - 1;
  return lowest_bit(mask);
}

// Calls body(view, row, column, exists) for all pixels with a marked pair. A warp takes 32 words of marks and
// distributes their pixels among its lanes, all of which call body() equally often.
template <class Body>
LG_DEVICE void for_marked_pixels(const PairMarks& marks, Body&& body) {
  const ImageSize& image = marks.image;
  const auto lane = static_cast<int>(lane_id());
  const int64_t groups = (marks.words() + 31) / 32, units = image.views * image.height * groups;
  for (int64_t unit = first_item() / warp_size; unit < units; unit += item_step() / warp_size) {
    const int64_t line = unit / groups, first_word = unit % groups * 32;
    const int64_t view = line / image.height, row = line % image.height;
    const uint32_t mine = marks.pixels_of_word(view, row, first_word + lane);
    const int end = running_sum(bit_count(mine));  // of this lane's pixels among those of all lanes
    const int count = warp_shuffle(end, 31);
    for (int base = 0; base < count; base += 32) {
      const int wanted = base + lane;
      const unsigned owner = lane_with(end, wanted);
      const uint32_t pixels = warp_shuffle(mine, owner);
      const int first = warp_shuffle(end, owner) - bit_count(pixels);
      const bool exists = wanted < count;
      const int64_t column = exists ? 32 * (first_word + owner) + nth_bit(pixels, wanted - first) : 0;
      body(view, row, column, exists);
    }
  }
}

// Threads for for_marked_pixels().
inline int64_t marked_items(const PairMarks& marks) {
  return marks.image.views * marks.image.height * divide_up(marks.words(), 32) * warp_size;
}

}  // namespace lg::surface
