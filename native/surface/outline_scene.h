// Inputs and outputs of the op `outlines`, and the pixels whose colours stand for the two sides of a piece.
#pragma once

#include <cstdint>

#include "parallel/image_size.h"
#include "runtime/config.h"
#include "surface/outline_regions.h"
#include "surface/outlines.h"

namespace lg::surface {

// Inputs for all views. ranges: null, or [views, 2] on the host.
template <class T>
struct OutlineScene {
  const T* pos;
  const int32_t *tri, *topology, *frag_tri;
  const int64_t* ranges;
  int64_t vertices, triangles;
  ImageSize image;
  bool shared, every_edge;

  // Without flags and boxes.
  OutlineView<T> view(int64_t i) const {
    const int64_t first = ranges ? ranges[2 * i] : 0, count = ranges ? ranges[2 * i + 1] : triangles;
    return {pos + (shared ? 0 : 4 * i * vertices),
            nullptr,
            nullptr,
            tri,
            topology,
            frag_tri + image.pixel(i, 0, 0),
            first,
            first + count,
            triangles,
            vertices,
            image.height,
            image.width,
            every_edge,
            nullptr,
            nullptr,
            nullptr,
            nullptr};
  }
};

template <class T>
OutlineScene<T> make_outline_scene(const void* pos, const int32_t* tri, const int32_t* topology,
                                   const int32_t* frag_tri, const int64_t* ranges, int32_t shared, int64_t views,
                                   int64_t vertices, int64_t triangles, int64_t height, int64_t width,
                                   int32_t every_edge) {
  return {static_cast<const T*>(pos), tri,         topology,       frag_tri, ranges, vertices, triangles,
          {views, height, width},     shared != 0, every_edge != 0};
}

// Outputs of one view. Rows of `sides`, `place` and `source`: the plus and minus sides of a piece, then the lookups for
// the surfaces that these stand for.
constexpr int64_t sample_rows = 4;

template <class T>
struct OutlineOutput {
  int32_t *pixel, *sides, *line, *source;
  T *place, *weight, *length;
  int64_t capacity;

  OutlineOutput of_view(int64_t view) const {
    const int64_t first = view * capacity;
    return {pixel + first,
            sides + sample_rows * first,
            line + 2 * first,
            source ? source + sample_rows * first : nullptr,
            place + 2 * sample_rows * first,
            weight + 2 * first,
            length + first,
            capacity};
  }

  LG_HD void write(int64_t i, const Piece& piece, const RegionSample (&samples)[2]) const {
    pixel[i] = piece.pixel;
    line[2 * i] = piece.first;
    line[2 * i + 1] = piece.second;
    length[i] = static_cast<T>(piece.length);
    write_sample(0, i, piece.plus, piece.x, piece.y);
    write_sample(1, i, piece.minus, piece.x, piece.y);
    for (int k = 0; k < 2; ++k) {
      write_sample(2 + k, i, samples[k].triangle, samples[k].x, samples[k].y);
      weight[k * capacity + i] = static_cast<T>(samples[k].weight);
    }
  }
  LG_HD void clear(int64_t i) const {
    const RegionSample none[2] = {{-1, 0, 0, 0}, {-1, 0, 0, 0}};
    write(i, Piece{-1, -1, -1, -1, of_edge, 0, 0, {0, 0, 0}, 0}, none);
    for (int64_t row = 0; source && row < sample_rows; ++row) source[row * capacity + i] = 0;
  }

 private:
  LG_HD void write_sample(int64_t row, int64_t i, int32_t triangle, double x, double y) const {
    sides[row * capacity + i] = triangle;
    place[2 * (row * capacity + i)] = static_cast<T>(x);
    place[2 * (row * capacity + i) + 1] = static_cast<T>(y);
  }
};

// Outputs of the first view.
template <class T>
OutlineOutput<T> make_outline_output(int64_t capacity, int32_t* pixel, int32_t* sides, int32_t* line, int32_t* source,
                                     void* place, void* weight, void* length) {
  return {pixel,   sides, line, source, static_cast<T*>(place), static_cast<T*>(weight), static_cast<T*>(length),
          capacity};
}

// The pixel, out of the 3x3 around a pixel, whose colour stands for a triangle at a place near its centre: the
// nearest one that shows the triangle, otherwise one that shows a surface through about the same point. -1 if there
// is none.
template <class T>
LG_HD int32_t source_of(const OutlineView<T>& view, int32_t pixel, int32_t triangle, double place_x, double place_y) {
  const int64_t column = pixel % view.width, row = pixel / view.width;
  const double x = static_cast<double>(column) + 0.5 + place_x, y = static_cast<double>(row) + 0.5 + place_y;
  PixelTriangle mine = {}, theirs = {};
  const bool known = triangle >= 0 && view.triangle(triangle, mine);
  const auto magnitude = [](double v) { return v < 0 ? -v : v; };
  double least = 1e300;
  int32_t best = -1;
  for (int i = 0; i < 9; ++i) {
    const int64_t r = row + i / 3 - 1, c = column + i % 3 - 1;
    if (r < 0 || c < 0 || r >= view.height || c >= view.width) continue;
    const int32_t shown = view.frag_tri[r * view.width + c];
    const double dx = static_cast<double>(c) + 0.5 - x, dy = static_cast<double>(r) + 0.5 - y;
    double cost = dx * dx + dy * dy;
    if (shown != triangle) {
      if (!known || shown < 0 || shown >= view.triangles || !view.has_vertices(shown) ||
          !view.triangle(shown, theirs)) {
        continue;
      }
      const double slope =
          (magnitude(mine.depth.a) + magnitude(mine.depth.b)) + (magnitude(theirs.depth.a) + magnitude(theirs.depth.b));
      const double apart = magnitude(mine.depth.at(x, y) - theirs.depth.at(x, y));
      if (!(apart <= slope + 1e-9)) continue;
      cost += 100 + apart / (slope + 1e-12);
    }
    if (cost < least) {
      least = cost;
      best = static_cast<int32_t>(r * view.width + c);
    }
  }
  return best;
}

// Sources of all samples of row i. If one side of a piece has no source, both take the pixel's own colour, so that the
// piece pulls at nothing. The same holds for a surface without a source.
template <class T>
LG_HD void write_sources(const OutlineView<T>& view, int64_t i, const OutlineOutput<T>& out) {
  int32_t found[sample_rows];
  for (int64_t row = 0; row < sample_rows; ++row) {
    const int64_t at = row * out.capacity + i;
    found[row] = source_of(view, out.pixel[i], out.sides[at], out.place[2 * at], out.place[2 * at + 1]);
  }
  if (found[0] < 0 || found[1] < 0) found[0] = found[1] = -1;
  for (int64_t row = 0; row < sample_rows; ++row) {
    out.source[row * out.capacity + i] = found[row] < 0 ? out.pixel[i] : found[row];
  }
}

// Row i of the outputs: a piece and the surfaces of its pixel, whose first side is given.
template <class T>
LG_HD void write_piece(const OutlineView<T>& view, const PixelRegions<T>& regions, int64_t first, int64_t i,
                       const OutlineOutput<T>& out) {
  const RegionSample samples[2] = {regions.sample(first, 2 * i), regions.sample(first, 2 * i + 1)};
  out.write(i, regions.pieces[i], samples);
  if (out.source) write_sources(view, i, out);
}

}  // namespace lg::surface
