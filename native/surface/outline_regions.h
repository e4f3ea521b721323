// The surfaces seen in a pixel that outlines cut: how much of it each covers, and where to look up its colour.
//
// A piece borders two surfaces. The sides of pieces that lie on one surface together determine what it covers: the
// signed areas beyond them add up to its area, and its colour is looked up in the middle of that area. A lookup beside
// each piece instead would weigh the colour by areas as large as the pixel, of which a thin surface is a small
// difference, and would sample where triangles are seen edge-on and their colours change fastest.
#pragma once

#include <cstdint>

#include "runtime/config.h"
#include "surface/outlines.h"

namespace lg::surface {

// The most triangles crossed on the way from one place to another.
constexpr int longest_way = 32;

// The most surfaces of a pixel between which a way is searched. Beyond that, one surface may count as several.
constexpr int most_walks = 16;

// A place on a surface.
struct SurfacePlace {
  int32_t triangle;
  double x, y;  // in pixels
};

// The place reached from another one along the surface, on the straight line on the screen to (x, y): it ends before
// the first outline, or as soon as triangle `target` is reached.
template <class T>
LG_HD SurfacePlace walk_to(const OutlineView<T>& view, const SurfacePlace& from, double x, double y, int32_t target) {
  if (from.triangle < 0 || from.triangle == target || view.every_edge) return {from.triangle, x, y};
  const HalfEdgeLinks links = view.links();
  int32_t t = from.triangle;
  int entry = -1;
  double passed = 0;
  for (int step = 0; step < longest_way; ++step) {
    PixelTriangle triangle;
    if (view.facing[t] == 0 || !view.triangle(t, triangle)) break;
    int exit = -1;
    double first = 2;
    for (int k = 0; k < 3; ++k) {
      const double here = triangle.edge[k].at(from.x, from.y), there = triangle.edge[k].at(x, y);
      if (k == entry || !(there < 0) || (step > 0 && here < 0)) continue;
      const double at = here <= 0 ? 0 : here / (here - there);
      if (at < first) exit = k, first = at;
    }
    if (exit < 0) return {t, x, y};
    if (!continues(links, view.facing, t, exit)) {
      const double middle = 0.5 * (passed + first);
      return {t, from.x + middle * (x - from.x), from.y + middle * (y - from.y)};
    }
    const int32_t half_edge = links[3 * int64_t{t} + exit] >> 1;
    passed = first;
    t = half_edge / 3;
    entry = half_edge % 3;
    if (t == target) return {t, x, y};
  }
  return from;
}

// One side of a piece. leader: the side that stands for its surface, counted from the pixel's first side. area (of a
// leader): what the surface covers, relative to the pixel's centre.
struct RegionSide {
  int32_t leader;
  Area area;
};

// A place at which to look up a colour, relative to the pixel's centre, and the part of the pixel that has this colour.
struct RegionSample {
  int32_t triangle;
  double x, y, weight;
};

template <class T>
struct PixelRegions {
  const OutlineView<T>& view;
  const Piece* pieces;  // those of one pixel are consecutive
  RegionSide* sides;    // two per piece

  // Finds the surfaces of the pieces [begin, end) of one pixel.
  LG_HD void find(int64_t begin, int64_t end) const {
    int32_t centre = -1;  // stands for the surface seen at the pixel's centre
    for (int64_t s = 2 * begin; s < 2 * end; ++s) {
      const auto own = static_cast<int32_t>(s - 2 * begin);
      sides[s] = {own, {0, 0, 0}};
      if (is_at_centre(s)) {
        sides[s].area.size = centre < 0 ? 1 : 0;
        centre = centre < 0 ? own : centre;
        sides[s].leader = centre;
      } else {
        sides[s].leader = leader_of(2 * begin, s);
      }
      sides[2 * begin + sides[s].leader].area.add(pieces[s / 2].beyond, s % 2 == 0 ? 1 : -1);
    }
  }

  // The lookup of side s, given the first side of the pixel. Nothing if the side does not stand for a surface.
  LG_HD RegionSample sample(int64_t first, int64_t s) const {
    const Area& area = sides[s].area;
    if (first + sides[s].leader != s || area.size == 0) return {-1, 0, 0, 0};
    const Piece& piece = pieces[s / 2];
    const double cx = centre_x(piece), cy = centre_y(piece);
    const double x = within_pixel(area.x / area.size), y = within_pixel(area.y / area.size);
    const SurfacePlace place = walk_to(view, place_of(s), cx + x, cy + y, -1);
    return {place.triangle, place.x - cx, place.y - cy, area.size};
  }

 private:
  // If an area is hardly larger than its rounding errors, its middle may lie anywhere.
  LG_HD static double within_pixel(double v) { return v > -0.5 ? (v < 0.5 ? v : 0.5) : -0.5; }

  LG_HD double centre_x(const Piece& piece) const { return static_cast<double>(piece.pixel % view.width) + 0.5; }
  LG_HD double centre_y(const Piece& piece) const { return static_cast<double>(piece.pixel / view.width) + 0.5; }

  LG_HD SurfacePlace place_of(int64_t s) const {
    const Piece& piece = pieces[s / 2];
    return {s % 2 == 0 ? piece.plus : piece.minus, centre_x(piece) + piece.x, centre_y(piece) + piece.y};
  }

  LG_HD bool is_at_centre(int64_t s) const {
    const Piece& piece = pieces[s / 2];
    const SurfacePlace from = place_of(s);
    const int32_t shown = view.frag_tri[piece.pixel];
    return walk_to(view, from, centre_x(piece), centre_y(piece), shown).triangle == shown;
  }

  LG_HD int32_t leader_of(int64_t first, int64_t s) const {
    const SurfacePlace from = place_of(s);
    int walks = 0;
    for (int64_t other = first; other < s; ++other) {
      if (sides[other].leader != other - first) continue;
      const SurfacePlace to = place_of(other);
      if (to.triangle == from.triangle) return sides[other].leader;
      if (walks >= most_walks || to.triangle < 0 || from.triangle < 0) continue;
      ++walks;
      if (walk_to(view, from, to.x, to.y, to.triangle).triangle == to.triangle) return sides[other].leader;
    }
    return static_cast<int32_t>(s - first);
  }
};

}  // namespace lg::surface
