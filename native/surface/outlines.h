// The visible outlines of an image, cut into pieces within pixels.
//
// Outlines are the silhouettes and borders of surfaces (on request, all edges), the curves in which surfaces cross, and
// the cuts of the near and far planes. Each is a straight segment on the screen. The surface visible immediately beside
// it is found exactly for either side: the nearest of the triangles that cover parts of the segment (envelope.h). Where
// the two sides differ and one of them belongs to the outline, the outline is visible, and is cut at the borders of
// pixels (outline_piece.h). Geometry is float64 and not snapped, whatever the tensors' type, so that the pieces move
// with the positions.
#pragma once

#include <cstdint>

#include "math/scalar.h"
#include "runtime/config.h"
#include "surface/cell_grid.h"
#include "surface/envelope.h"
#include "surface/outline_piece.h"
#include "surface/pixel_triangle.h"
#include "surface/silhouettes.h"

namespace lg::surface {

// A vertex on the screen, in pixels, with its depth z/w. It has none if it is not in front of the eye.
struct ScreenPlace {
  double x, y, z;
  bool in_front;
};

// One view and the triangles [first, last) that are drawn in it.
template <class T>
struct OutlineView {
  const T* pos;
  PixelCorner* corners;  // of all vertices
  ScreenPlace* places;
  const int32_t *tri, *topology, *frag_tri;
  int64_t first, last, triangles, vertices;
  int64_t height, width;
  bool every_edge;
  // Of all triangles. Those outside [first, last) are neither front- nor back-facing.
  uint8_t *facing, *edges;
  TriangleBox* boxes;
  int32_t* turns;  // of all vertices

  LG_HD const PixelCorner& corner(int64_t triangle, int k) const { return corners[tri[3 * triangle + k]]; }
  LG_HD const ScreenPlace& place(int64_t triangle, int k) const { return places[tri[3 * triangle + k]]; }
  LG_HD bool has_vertices(int64_t triangle) const {
    for (int k = 0; k < 3; ++k) {
      if (static_cast<uint32_t>(tri[3 * triangle + k]) >= static_cast<uint64_t>(vertices)) return false;
    }
    return true;
  }
  LG_HD bool triangle(int64_t t, PixelTriangle& out) const {
    const PixelCorner corners[3] = {corner(t, 0), corner(t, 1), corner(t, 2)};
    return make_pixel_triangle(corners, out);
  }
  LG_HD HalfEdgeLinks links() const { return {topology, 3 * triangles}; }
};

// ---- One triangle: which way it faces, and where it lies -------------------------------------------------------

// Rounding of a box to float32, in pixels, at the largest image.
constexpr double box_margin = 0.01;

// Like the flags of silhouettes.h. Zero if a triangle is seen edge-on or is not finite.
LG_HD uint8_t facing_of(const PixelCorner& p, const PixelCorner& q, const PixelCorner& r) {
  const double det = determinant(p, q, r);
  const bool drawn = (det - det) + 0.0 * ((p.z + q.z) + r.z) == 0;
  return !drawn || det == 0 ? 0 : (det > 0 ? facing_positive : facing_negative);
}

LG_HD TriangleBox empty_box() { return {1, 1, 0, 0, 0, 0}; }

// The box within the image, or the whole image if a corner is not in front of the eye.
template <class T>
LG_HD TriangleBox box_of(const OutlineView<T>& view, int64_t t) {
  const auto width = static_cast<double>(view.width), height = static_cast<double>(view.height);
  const ScreenPlace &p = view.place(t, 0), &q = view.place(t, 1), &r = view.place(t, 2);
  if (!(p.in_front && q.in_front && r.in_front)) {
    bool near = true, far = true;
    for (int k = 0; k < 3; ++k) {
      const PixelCorner& c = view.corner(t, k);
      near = near && c.z + c.w < 0;
      far = far && c.w - c.z < 0;
    }
    constexpr float beyond = 1.001f;
    if (near || far) return empty_box();
    return {0, 0, static_cast<float>(width), static_cast<float>(height), -beyond, beyond};
  }
  const auto least = [](double a, double b, double c) { return minimum(a, minimum(b, c)); };
  const auto most = [](double a, double b, double c) { return maximum(a, maximum(b, c)); };
  const double x0 = least(p.x, q.x, r.x) - box_margin, x1 = most(p.x, q.x, r.x) + box_margin;
  const double y0 = least(p.y, q.y, r.y) - box_margin, y1 = most(p.y, q.y, r.y) + box_margin;
  const double z0 = least(p.z, q.z, r.z), z1 = most(p.z, q.z, r.z);
  if (!(x1 >= 0 && x0 <= width && y1 >= 0 && y0 <= height && z1 >= -1 && z0 <= 1)) return empty_box();
  constexpr double slack = 1e-6;  // of a rounding to float32
  return {static_cast<float>(maximum(x0, 0.0)),          static_cast<float>(maximum(y0, 0.0)),
          static_cast<float>(minimum(x1, width)),        static_cast<float>(minimum(y1, height)),
          static_cast<float>(maximum(z0, -1.0) - slack), static_cast<float>(minimum(z1, 1.0) + slack)};
}

template <class T>
LG_HD void find_corner(const OutlineView<T>& view, int64_t vertex) {
  const PixelCorner c =
      pixel_corner(view.pos + 4 * vertex, static_cast<double>(view.width), static_cast<double>(view.height));
  const double inverse = 1 / c.w;
  view.corners[vertex] = c;
  view.places[vertex] = {c.x * inverse, c.y * inverse, c.z * inverse, c.w > 0};
}

template <class T>
LG_HD void find_triangle(const OutlineView<T>& view, int64_t t) {
  view.facing[t] = 0;
  view.boxes[t] = empty_box();
  if (t < view.first || t >= view.last || !view.has_vertices(t)) return;
  view.facing[t] = facing_of(view.corner(t, 0), view.corner(t, 1), view.corner(t, 2));
  if (view.facing[t] != 0) view.boxes[t] = box_of(view, t);
}

// The outlines among the edges of a triangle, as bits. An edge belongs to the first of its drawn half-edges.
template <class T>
LG_HD uint8_t outlines_of(const OutlineView<T>& view, int64_t t) {
  if (view.facing[t] == 0 || view.boxes[t].empty()) return 0;
  const HalfEdgeLinks links = view.links();
  uint8_t edges = view.every_edge ? silhouette_edges : silhouettes_of(links, view.facing, t);
  for (int k = 0; k < 3; ++k) {
    const int64_t own = 3 * t + k;
    const auto is_before = [&](int64_t h) { return h < own && view.facing[h / 3] != 0; };
    if ((edges >> k & 1) && any_half_edge(links, own, is_before)) edges &= static_cast<uint8_t>(~(1 << k));
  }
  return edges;
}

// ---- Vertices that the surface surrounds ---------------------------------------------------------------------------

// A vertex is regular if none of its edges turns away from the eye: on the screen, its triangles surround it, once
// unless the surface folds over itself. Triangles that surround a vertex once do not cross one another, which spares
// the search for crossings most pairs. turns: how often a vertex is surrounded, or `irregular`.
constexpr int32_t irregular = 1 << 20;

// Whether the direction to the right lies between those from v to a and from v to b.
LG_HD bool turns_right(const ScreenPlace& v, const ScreenPlace& a, const ScreenPlace& b) {
  const double ax = a.x - v.x, ay = a.y - v.y, bx = b.x - v.x, by = b.y - v.y, cross = ax * by - ay * bx;
  return cross > 0 ? ay < 0 && by >= 0 : by < 0 && ay >= 0;
}

// Calls add(vertex, turns) for the corners of a triangle.
template <class T, class Add>
LG_HD void count_turns(const OutlineView<T>& view, int64_t t, const Add& add) {
  if (!view.has_vertices(t)) return;
  const int32_t* vertex = view.tri + 3 * t;
  const bool drawn = view.facing[t] != 0;
  const HalfEdgeLinks links = view.links();
  for (int k = 0; k < 3; ++k) {
    const int32_t a = vertex[(k + 1) % 3], b = vertex[(k + 2) % 3];
    const bool whole = drawn && view.places[vertex[k]].in_front && view.places[a].in_front && view.places[b].in_front;
    add(vertex[k], !whole ? irregular : turns_right(view.places[vertex[k]], view.places[a], view.places[b]));
    const int64_t h = 3 * t + k, back = links[links[h] >> 1] >> 1;
    if (!(view.edges[t] >> k & 1) && back == h) continue;  // an inner edge with two triangles
    add(a, irregular);
    add(b, irregular);
  }
}

// ---- Finding triangles in the lists ------------------------------------------------------------------------------

// A search of a cell for triangles that a segment may touch.
struct SegmentSearch {
  int64_t cell;
  float x0, y0, x1, y1;
};

LG_HD SegmentSearch search_along(int64_t cell, const Segment& s) {
  return {cell, static_cast<float>(minimum(s.x0, s.x1)), static_cast<float>(minimum(s.y0, s.y1)),
          static_cast<float>(maximum(s.x0, s.x1)), static_cast<float>(maximum(s.y0, s.y1))};
}

// A search for triangles with numbers above `triangle` whose boxes meet `box` and do not begin before a place.
struct CrossingSearch {
  int64_t cell;
  int32_t triangle;
  TriangleBox box;
  float begin_x, begin_y;
};

// Scans the entries one after another.
template <class T>
struct ScanEntries {
  const OutlineView<T>& view;
  const CellLists& lists;

  // Calls body(triangle, its least depth).
  template <class Body>
  LG_HD void operator()(const SegmentSearch& s, const Body& body) const {
    for (int32_t i = lists.begin[s.cell]; i < lists.begin[s.cell + 1]; ++i) {
      const TriangleBox& box = view.boxes[lists.entries[i]];
      if (box.x0 <= s.x1 && box.x1 >= s.x0 && box.y0 <= s.y1 && box.y1 >= s.y0) body(lists.entries[i], box.z0);
    }
  }

  // Calls body(triangle).
  template <class Body>
  LG_HD void operator()(const CrossingSearch& s, const Body& body) const {
    for (int32_t i = lists.begin[s.cell]; i < lists.begin[s.cell + 1]; ++i) {
      const int32_t other = lists.entries[i];
      const TriangleBox& theirs = view.boxes[other];
      if (other > s.triangle && s.box.meets(theirs) && theirs.x0 >= s.begin_x && theirs.y0 >= s.begin_y) body(other);
    }
  }
};

// ---- What is seen beside a segment -----------------------------------------------------------------------------

template <class T, class Scan>
struct Surroundings {
  const OutlineView<T>& view;
  const CellGrid& grid;
  const Scan& scan;

  // Adds the triangles of a cell to what is visible on the plus and minus sides of a segment in that cell: either those
  // that reach `depth` or less, or those behind it. False if there is no room.
  LG_HD bool look(const Segment& s, int64_t cell, double depth, bool behind, Envelope& plus, Envelope& minus) const {
    bool room = true;
    scan(search_along(cell, s), [&](int32_t t, float least_depth) {
      PixelTriangle triangle;
      if (!room || (least_depth > depth) != behind || lies_beyond(t, s) || !view.triangle(t, triangle)) return;
      room = plus.insert(cover(triangle, s, 1), t) && minus.insert(cover(triangle, s, -1), t);
    });
    return room;
  }

  // Whether the whole segment lies on the far side of one edge of a triangle in front of the eye.
  LG_HD bool lies_beyond(int32_t t, const Segment& s) const {
    const ScreenPlace corner[3] = {view.place(t, 0), view.place(t, 1), view.place(t, 2)};
    if (!(corner[0].in_front && corner[1].in_front && corner[2].in_front)) return false;
    const double sign = view.facing[t] & facing_positive ? 1 : -1;
    bool beyond = false;
    for (int k = 0; k < 3; ++k) {
      const ScreenPlace &a = corner[k], &b = corner[k == 2 ? 0 : k + 1];
      const double nx = sign * (a.y - b.y), ny = sign * (b.x - a.x);
      const double room = -2 * beside * ((nx < 0 ? -nx : nx) + (ny < 0 ? -ny : ny));
      beyond |= nx * (s.x0 - a.x) + ny * (s.y0 - a.y) < room && nx * (s.x1 - a.x) + ny * (s.y1 - a.y) < room;
    }
    return beyond;
  }

  // The triangle visible at a place.
  LG_HD int32_t seen(double x, double y) const {
    const int64_t cell = grid.cell_at(x, y);
    int32_t nearest = -1;
    double depth = 0;
    scan(search_along(cell, {x, y, x, y, 0, 0}), [&](int32_t t, float) {
      PixelTriangle triangle;
      if (!view.triangle(t, triangle) || !covers(triangle, x, y)) return;
      const double z = triangle.depth.at(x, y);
      if (nearest >= 0 && (z > depth || (z == depth && t < nearest))) return;
      nearest = t, depth = z;
    });
    return nearest;
  }
};

// ---- Following an outline ----------------------------------------------------------------------------------------

// An outline: its segment, its largest depth, and what defines it (outline_piece.h).
struct Outline {
  Segment segment;
  double depth;
  int32_t first, second;
};

LG_HD Segment part_of(const Segment& s, double from, double to) {
  const double dx = s.x1 - s.x0, dy = s.y1 - s.y0;
  return {s.x0 + from * dx, s.y0 + from * dy, s.x0 + to * dx, s.y0 + to * dy, s.nx, s.ny};
}

// The places, one after another and in fractions, where a coordinate that runs from v0 to v1 passes multiples of
// `step`.
class Crossings {
 public:
  LG_HD Crossings(double v0, double v1, double from, double step)
      : v0_(v0), run_(v1 - v0), step_(run_ < 0 ? -step : step) {
    const double position = (v0 + from * run_) / step_;
    next_ = floor_of(position) + 1;
  }
  // The next crossing after `from`, or 2 if there is none.
  LG_HD double after(double from) {
    if (run_ == 0) return 2;
    double at = (next_ * step_ - v0_) / run_;
    for (int i = 0; i < 4 && at <= from; ++i) at = (++next_ * step_ - v0_) / run_;
    return at > from ? at : 2;
  }

 private:
  LG_HD static double floor_of(double v) {
    const double whole = static_cast<double>(static_cast<int64_t>(v));
    return whole > v ? whole - 1 : whole;
  }
  double v0_, run_, step_, next_ = 0;
};

// The places where a segment passes from square to square of a grid, one after another.
class GridCrossings {
 public:
  LG_HD GridCrossings(const Segment& s, double from, double side)
      : across_(s.x0, s.x1, from, side), down_(s.y0, s.y1, from, side) {}

  // The next crossing after `from`, or `end` if that comes first.
  LG_HD double after(double from, double end) { return minimum(minimum(across_.after(from), down_.after(from)), end); }

 private:
  Crossings across_, down_;
};

// An outline closer to a pixel's centre than this, in pixels, may lie on its other side for the rasterizer, which snaps
// vertices to 1/256 pixel.
constexpr double snapped_within = 1.0 / 128;

// Outlines often pass through pixel centres. The place at this offset to the left and above counts as the centre.
constexpr double aside_x = 0.1 * beside, aside_y = beside;

// The squared distance of the origin from a segment.
LG_HD double distance_from_origin(double x0, double y0, double x1, double y1) {
  const double dx = x1 - x0, dy = y1 - y0, square = dx * dx + dy * dy;
  double s = square > 0 ? -(x0 * dx + y0 * dy) / square : 0;
  s = s < 0 ? 0 : (s > 1 ? 1 : s);
  const double x = x0 + s * dx, y = y0 + s * dy;
  return x * x + y * y;
}

// Sink: sink.add(piece), and sink.check(pixel) for a pixel whose centre lies on an outline within rounding errors.
template <class T, class Scan, class Sink>
class OutlineWalk {
 public:
  LG_HD OutlineWalk(const OutlineView<T>& view, const CellGrid& grid, const Scan& scan, Sink& sink)
      : view_(view), around_{view, grid, scan}, sink_(sink) {}

  // Follows the part of an outline that lies in the image.
  LG_HD void follow(const Outline& whole) {
    Part inside = {0, 1};
    const Segment& w = whole.segment;
    inside.keep(w.x0, w.x1);
    inside.keep(w.y0, w.y1);
    inside.keep(static_cast<double>(view_.width) - w.x0, static_cast<double>(view_.width) - w.x1);
    inside.keep(static_cast<double>(view_.height) - w.y0, static_cast<double>(view_.height) - w.y1);
    if (inside.empty()) return;
    // For ends far outside, too few digits would remain for the part inside. Ends inside are not changed: outlines that
    // meet at a vertex end at exactly the same place.
    Outline outline = whole;
    const Segment part = part_of(w, inside.low, inside.high);
    Segment& s = outline.segment;
    if (inside.low > 0) s.x0 = part.x0, s.y0 = part.y0;
    if (inside.high < 1) s.x1 = part.x1, s.y1 = part.y1;
    GridCrossings cells(s, 0, static_cast<double>(int64_t{1} << around_.grid.shift));
    for (double from = 0; from < 1;) {
      const double to = cells.after(from, 1);
      follow_in_cell(outline, from, to);
      from = to;
    }
  }

  // A part of an outline within one cell, halved until there is room for what is visible beside it. If there is never
  // room, the part is left out.
  LG_HD void follow_in_cell(const Outline& outline, double from, double to) {
    const Segment whole = part_of(outline.segment, from, to);
    const int64_t cell = around_.grid.cell_at(0.5 * (whole.x0 + whole.x1), 0.5 * (whole.y0 + whole.y1));
    for (double begin = from, end = to; begin < to;) {
      const Seen seen = look(outline, part_of(outline.segment, begin, end), cell);
      if (seen == Seen::too_much && end - begin > (to - from) / 4096) {
        end = begin + 0.5 * (end - begin);
        continue;
      }
      if (seen == Seen::outline) compare(outline, begin, end);
      begin = end;
      end = to;
    }
  }

 private:
  enum class Seen { outline, hidden, too_much };

  // Finds what is visible beside a part of an outline within one cell. Surfaces that may hide the outline come first:
  // if it is hidden, the surfaces behind it do not matter.
  LG_HD Seen look(const Outline& outline, const Segment& part, int64_t cell) {
    plus_.clear();
    minus_.clear();
    if (!around_.look(part, cell, outline.depth, false, plus_, minus_)) return Seen::too_much;
    if (!shows(outline, plus_) && !shows(outline, minus_)) return Seen::hidden;
    return around_.look(part, cell, outline.depth, true, plus_, minus_) ? Seen::outline : Seen::too_much;
  }

  LG_HD bool shows(const Outline& outline, const Envelope& seen) const {
    for (int i = 0; i < seen.count(); ++i) {
      if (owns(outline, seen[i].triangle)) return true;
    }
    return false;
  }

  // Compares the two sides, and cuts pieces wherever they show different triangles.
  LG_HD void compare(const Outline& outline, double from, double to) {
    double begin = 0;
    for (int p = 0, m = 0; begin < 1;) {
      const double end_p = plus_.end(p), end_m = minus_.end(m), end = end_p < end_m ? end_p : end_m;
      // The ends on the two sides differ by the shift of `beside`: no piece is worth that length.
      if (plus_[p].triangle != minus_[m].triangle && end > begin) {
        emit(outline, from + begin * (to - from), from + end * (to - from), plus_[p].triangle, minus_[m].triangle);
      }
      if (end_p <= end && p + 1 < plus_.count()) ++p;
      if (end_m <= end && m + 1 < minus_.count()) ++m;
      begin = end;
    }
  }

  LG_HD void emit(const Outline& outline, double from, double to, int32_t plus, int32_t minus) {
    const bool own_plus = owns(outline, plus), own_minus = owns(outline, minus);
    const bool both = outline.second >= 0;  // an intersection
    if (both ? !(own_plus && own_minus) : !(own_plus || own_minus)) return;
    const int32_t other = own_plus ? minus : plus;
    Part joint = {1, 1};
    if (outline.second == of_edge && own_plus != own_minus && other >= 0) {
      joint = joint_with(part_of(outline.segment, from, to), other);
    }
    const double begin = from + joint.low * (to - from), end = from + joint.high * (to - from);
    cut(outline, from, begin, plus, minus, 1);
    cut(outline, begin, end, plus, minus, 0.5);
    cut(outline, end, to, plus, minus, 1);
  }

  LG_HD bool owns(const Outline& outline, int32_t triangle) const {
    if (triangle < 0) return false;
    if (outline.second >= 0) return triangle == outline.first || triangle == outline.second;
    if (outline.second != of_edge) return triangle == outline.first;
    return any_half_edge(view_.links(), outline.first, [&](int64_t h) { return h / 3 == triangle; });
  }

  // The part of a segment along which the surface beyond an edge also ends, closer than the distance at which
  // neighbours are looked up. Two outlines then coincide, both show the two surfaces, and each counts half. Farther
  // apart, there is a gap or an overlap, whose two borders are seen as such.
  LG_HD Part joint_with(const Segment& s, int32_t other) const {
    PixelTriangle b;
    if (!view_.triangle(other, b)) return {1, 1};
    constexpr double close = 1.001 * beside;
    Part longest = {1, 1};
    for (int k = 0; k < 3; ++k) {
      const Line& e = b.edge[k];
      const double reach = close * root(e.a * e.a + e.b * e.b), start = e.at(s.x0, s.y0), end = e.at(s.x1, s.y1);
      Part part = {0, 1};
      part.keep(reach - start, reach - end);
      part.keep(reach + start, reach + end);
      if (part.high - part.low > longest.high - longest.low && is_outline(other, k)) longest = part;
    }
    return longest;
  }

  LG_HD bool is_outline(int32_t triangle, int k) const {
    const auto is_followed = [&](int64_t h) { return (view_.edges[h / 3] >> (h % 3) & 1) != 0; };
    return any_half_edge(view_.links(), 3 * int64_t{triangle} + k, is_followed);
  }

  // Cuts a part of an outline into pieces within pixels.
  LG_HD void cut(const Outline& outline, double from, double to, int32_t plus, int32_t minus, double share) {
    const Segment& s = outline.segment;
    GridCrossings pixels(s, from, 1);
    while (from < to) {
      const double next = pixels.after(from, to);
      add(outline, part_of(s, from, next), plus, minus, share);
      from = next;
    }
  }

  LG_HD void add(const Outline& outline, const Segment& s, int32_t plus, int32_t minus, double share) {
    const double middle_x = 0.5 * (s.x0 + s.x1), middle_y = 0.5 * (s.y0 + s.y1);
    const int64_t column = within(middle_x, view_.width), row = within(middle_y, view_.height);
    const double cx = static_cast<double>(column) + 0.5, cy = static_cast<double>(row) + 0.5;
    const double x0 = s.x0 - cx, y0 = s.y0 - cy, x1 = s.x1 - cx, y1 = s.y1 - cy;
    const int32_t pixel = static_cast<int32_t>(row * view_.width + column);
    const double dx = x1 - x0, dy = y1 - y0;
    // The piece as seen from the place that correct_centre() uses: an outline through the centre itself is on the same
    // side for both.
    constexpr double ox = aside_x, oy = aside_y;
    Area beyond = {0, 0, 0};
    beyond.add(area_beyond(x0 + ox, y0 + oy, x1 + ox, y1 + oy, s.nx, s.ny), share);
    sink_.add(Piece{pixel, plus, minus, outline.first, outline.second, middle_x - cx, middle_y - cy, beyond,
                    share * root(dx * dx + dy * dy)});
    if (distance_from_origin(x0, y0, x1, y1) < snapped_within * snapped_within) sink_.check(pixel);
  }

  LG_HD static int64_t within(double v, int64_t size) {
    const auto i = static_cast<int64_t>(v < 0 ? 0 : v);
    return i < size ? i : size - 1;
  }

  const OutlineView<T>& view_;
  Surroundings<T, Scan> around_;
  Sink& sink_;
  Envelope plus_, minus_;
};

// ---- The outlines of a triangle ---------------------------------------------------------------------------------

LG_HD bool set_normal(Segment& s, double a, double b) {
  const double norm = root(a * a + b * b);
  s.nx = a / norm, s.ny = b / norm;
  return (s.nx - s.nx) + (s.ny - s.ny) == 0 && (s.x0 - s.x0) + (s.y0 - s.y0) + (s.x1 - s.x1) + (s.y1 - s.y1) == 0;
}

// Depths that are computed in two ways may differ by this.
constexpr double depth_slack = 1e-9;

// Clips an edge to the near and far planes. False if nothing is left.
LG_HD bool visible_ends(const PixelCorner& a, const PixelCorner& b, Outline& outline) {
  Part part = {0, 1};
  part.keep(a.z + a.w, b.z + b.w);
  part.keep(a.w - a.z, b.w - b.z);
  if (part.empty()) return false;
  const double ends[2] = {part.low, part.high};
  double place[2][3];
  for (int i = 0; i < 2; ++i) {
    const double f = ends[i], w = f == 1 ? b.w : a.w + f * (b.w - a.w);
    if (!(w > 0)) return false;
    place[i][0] = (f == 1 ? b.x : a.x + f * (b.x - a.x)) / w;
    place[i][1] = (f == 1 ? b.y : a.y + f * (b.y - a.y)) / w;
    place[i][2] = (f == 1 ? b.z : a.z + f * (b.z - a.z)) / w;
  }
  outline.segment = {place[0][0], place[0][1], place[1][0], place[1][1], 0, 0};
  outline.depth = maximum(place[0][2], place[1][2]) + depth_slack;
  return true;
}

template <class T, class Walk>
LG_HD void follow_edges(const OutlineView<T>& view, int64_t t, Walk& walk) {
  for (int k = 0; k < 3; ++k) {
    if (!(view.edges[t] >> k & 1)) continue;
    const PixelCorner a = view.corner(t, (k + 1) % 3), b = view.corner(t, (k + 2) % 3);
    const Line line = line_through(a, b);
    Outline outline = {{}, 0, static_cast<int32_t>(3 * t + k), of_edge};
    if (visible_ends(a, b, outline) && set_normal(outline.segment, line.a, line.b)) walk.follow(outline);
  }
}

// Where the near (plane 1) or far (plane -1) plane cuts a triangle: z + plane w = 0.
template <class T, class Walk>
LG_HD void follow_cut(const OutlineView<T>& view, int64_t t, double plane, Walk& walk) {
  const PixelCorner p[3] = {view.corner(t, 0), view.corner(t, 1), view.corner(t, 2)};
  double place[2][2];
  int found = 0;
  for (int k = 0; k < 3 && found < 2; ++k) {
    const PixelCorner &a = p[(k + 1) % 3], &b = p[(k + 2) % 3];
    const double da = plane * a.z + a.w, db = plane * b.z + b.w;
    if ((da < 0) == (db < 0)) continue;
    const double f = da / (da - db), w = a.w + f * (b.w - a.w);
    if (!(w > 0)) return;
    place[found][0] = (a.x + f * (b.x - a.x)) / w;
    place[found][1] = (a.y + f * (b.y - a.y)) / w;
    ++found;
  }
  PixelTriangle triangle;
  if (found < 2 || !make_pixel_triangle(p, triangle)) return;
  Outline outline = {{place[0][0], place[0][1], place[1][0], place[1][1], 0, 0},
                     depth_slack - plane,
                     static_cast<int32_t>(t),
                     plane > 0 ? of_near_plane : of_far_plane};
  const Line& depth = triangle.depth;
  if (set_normal(outline.segment, plane * depth.a, plane * depth.b)) walk.follow(outline);
}

template <class T, class Walk>
LG_HD void follow_borders(const OutlineView<T>& view, int64_t t, Walk& walk) {
  if (view.boxes[t].empty()) return;
  follow_edges(view, t, walk);
  // Only a triangle whose range of depths reaches a plane can cross it.
  if (view.boxes[t].z0 < -1) follow_cut(view, t, 1.0, walk);
  if (view.boxes[t].z1 > 1) follow_cut(view, t, -1.0, walk);
}

// The part of a line inside a circle around the image. False if there is none, or no line.
LG_HD bool line_in_image(const Line& line, double width, double height, Segment& s) {
  const double norm = root(line.a * line.a + line.b * line.b);
  const double nx = line.a / norm, ny = line.b / norm;
  const double away = line.at(0.5 * width, 0.5 * height) / norm, reach = width + height;
  if (!(away < reach && away > -reach)) return false;
  const double x = 0.5 * width - away * nx, y = 0.5 * height - away * ny;
  s = {x + reach * ny, y - reach * nx, x - reach * ny, y + reach * nx, nx, ny};
  return true;
}

// ---- Intersections -----------------------------------------------------------------------------------------------

// Whether two triangles cannot cross because of what they share: an edge, or a vertex that they surround.
template <class T>
LG_HD bool are_neighbours(const OutlineView<T>& view, int64_t t, int64_t other) {
  const int32_t *a = view.tri + 3 * t, *b = view.tri + 3 * other;
  int shared = 0, at = 0;
  for (int i = 0; i < 3; ++i) {
    const bool both = (a[i] == b[0]) | (a[i] == b[1]) | (a[i] == b[2]);
    shared += both;
    at = both ? i : at;
  }
  return shared >= 2 || (shared == 1 && view.turns[a[at]] == 1);
}

// Two surfaces that come closer than this, in pixels, to an edge of one of the triangles touch there and do not cross:
// the other surface is then visible beside the edge, and the edge is the outline.
constexpr double touching = beside;

// The edges of a triangle as lines whose values are distances in pixels, and the triangle's number.
struct TriangleSides {
  Line side[3];
  int32_t triangle;
};

LG_HD TriangleSides make_sides(const PixelTriangle& t, int32_t triangle) {
  TriangleSides out;
  for (int k = 0; k < 3; ++k) {
    const double scale = 1 / root(t.edge[k].a * t.edge[k].a + t.edge[k].b * t.edge[k].b);
    out.side[k] = {t.edge[k].a * scale, t.edge[k].b * scale, t.edge[k].c * scale};
  }
  out.triangle = triangle;
  return out;
}

// Whether a triangle lies on the far side of one edge, where it can neither hide nor cross the other one. Most
// neighbours do.
template <class T>
LG_HD bool separated(const OutlineView<T>& view, const TriangleSides& sides, int32_t other) {
  const ScreenPlace &p = view.place(other, 0), &q = view.place(other, 1), &r = view.place(other, 2);
  if (!(p.in_front && q.in_front && r.in_front)) return false;
  bool apart = false;
  for (const Line& s : sides.side) {
    apart |= maximum(s.at(p.x, p.y), maximum(s.at(q.x, q.y), s.at(r.x, r.y))) <= touching;
  }
  return apart;
}

LG_HD bool lies_within(const TriangleSides& t, double x, double y) {
  return t.side[0].at(x, y) > touching && t.side[1].at(x, y) > touching && t.side[2].at(x, y) > touching;
}

// The curve in which two triangles cross.
template <class T, class Walk>
LG_HD void follow_crossing(const OutlineView<T>& view, const PixelTriangle& a, const TriangleSides& sides,
                           int32_t other, Walk& walk) {
  PixelTriangle b;
  if (!view.triangle(other, b)) return;
  const Line line = a.depth - b.depth;
  // Triangles in one plane (within rounding) cross nowhere or everywhere.
  const double flat = 16 * (a.depth_error + b.depth_error);
  if (line.a * line.a + line.b * line.b <= flat * flat) return;
  Segment s;
  if (!line_in_image(line, static_cast<double>(view.width), static_cast<double>(view.height), s)) return;
  Part part = {0, 1};
  for (const PixelTriangle* t : {&a, static_cast<const PixelTriangle*>(&b)}) {
    for (const Line& e : t->edge) part.keep(e.at(s.x0, s.y0), e.at(s.x1, s.y1));
    part.keep(t->front.at(s.x0, s.y0), t->front.at(s.x1, s.y1));
  }
  if (part.empty()) return;
  s = part_of(s, part.low, part.high);
  const double x = 0.5 * (s.x0 + s.x1), y = 0.5 * (s.y0 + s.y1);
  if (!lies_within(sides, x, y) || !lies_within(make_sides(b, other), x, y)) return;
  const double depth = maximum(a.depth.at(s.x0, s.y0), a.depth.at(s.x1, s.y1)) + depth_slack;
  walk.follow(Outline{s, depth, sides.triangle, other});
}

// Triangles with higher numbers than t whose boxes meet its box. A pair is found in the first cell that both touch, in
// which one of the boxes begins.
LG_HD CrossingSearch search_crossings(const CellGrid& grid, const CellRange& range, int32_t column, int32_t row,
                                      int64_t t, const TriangleBox& box) {
  const auto start = [&](int32_t cell) { return static_cast<float>(int64_t{cell} << grid.shift); };
  return {grid.cell(column, row), static_cast<int32_t>(t), box, column > range.x0 ? start(column) : 0.0f,
          row > range.y0 ? start(row) : 0.0f};
}

// The crossings of one triangle with others that are not its neighbours.
template <class T, class Walk>
class TriangleCrossings {
 public:
  LG_HD TriangleCrossings(const OutlineView<T>& view, int64_t t, Walk& walk)
      : view_(view), walk_(walk), t_(static_cast<int32_t>(t)) {
    sides_.triangle = -1;
  }

  LG_HD void follow(int32_t other) {
    if (sides_.triangle < 0) {
      if (!view_.triangle(t_, triangle_)) return;
      sides_ = make_sides(triangle_, t_);
    }
    if (!separated(view_, sides_, other)) follow_crossing(view_, triangle_, sides_, other, walk_);
  }

 private:
  const OutlineView<T>& view_;
  Walk& walk_;
  const int32_t t_;
  PixelTriangle triangle_ = {};
  TriangleSides sides_ = {};  // made with the first other triangle; until then it belongs to none
};

// All crossings with triangles of higher numbers.
template <class T, class Scan, class Walk>
LG_HD void follow_crossings(const OutlineView<T>& view, const CellGrid& grid, int64_t t, const Scan& scan, Walk& walk) {
  const TriangleBox box = view.boxes[t];
  if (box.empty()) return;
  const CellRange range = grid.range(box);
  TriangleCrossings<T, Walk> crossings(view, t, walk);
  for (int32_t row = range.y0; row <= range.y1; ++row) {
    for (int32_t column = range.x0; column <= range.x1; ++column) {
      scan(search_crossings(grid, range, column, row, t, box), [&](int32_t other) {
        if (!are_neighbours(view, t, other)) crossings.follow(other);
      });
    }
  }
}

// ---- Centres -------------------------------------------------------------------------------------------------------

// Where the rasterizer's rounding shows a different triangle at a pixel's centre than the exact geometry, a piece
// without a line corrects the pixel.
template <class T, class Scan, class Sink>
LG_HD void correct_centre(const OutlineView<T>& view, const CellGrid& grid, const Scan& scan, int32_t pixel,
                          Sink& sink) {
  const double x = static_cast<double>(pixel % view.width) + 0.5, y = static_cast<double>(pixel / view.width) + 0.5;
  const int32_t exact = Surroundings<T, Scan>{view, grid, scan}.seen(x - aside_x, y - aside_y);
  const int32_t given = view.frag_tri[pixel], shown = given < 0 || given >= view.triangles ? -1 : given;
  if (exact == shown) return;
  sink.add(Piece{pixel, exact, shown, -1, of_edge, 0, 0, {1, 0, 0}, 0});
}

}  // namespace lg::surface
