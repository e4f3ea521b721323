// Triangles on their way to the tiles, judged and set up sixteen at a time.
#pragma once

#include <cstdint>

#include "rasterize/coverage.h"

namespace lg {

// Triangles up to this size can be set up in 32 bits wherever they touch a tile. In sub-pixels: 32 pixels.
constexpr int32_t small_extent = 1 << 13;

// A triangle whose box holds at most 4x4 pixel centres, ready to be drawn: its coverage is decided already.
struct TinyTriangle {
  float at_origin, dx, dy, low, high;  // its depth plane
  int32_t triangle;
  uint16_t x, y;  // the origin: its box's first pixel
  uint16_t mask;  // bit 4 * row + column: it covers the pixel that far from the origin
};

// Sixteen triangles, side by side: plain loops over the lanes, which compilers vectorise. Most triangles of a fine
// mesh hold no pixel centre and are dropped here, and most of the others are tiny.
struct alignas(64) CandidateTriangles {
  static constexpr int capacity = 16;
  enum Verdict : int32_t { drop, keep, keep_tiny, look_closer };

  int count;
  int32_t ax[capacity], ay[capacity], bx[capacity], by[capacity], cx[capacity], cy[capacity];
  float az[capacity], bz[capacity], cz[capacity];
  uint32_t flags[capacity];  // of the three vertices together
  int32_t x0[capacity], y0[capacity], x1[capacity], y1[capacity];
  int32_t area[capacity];  // doubled and signed; wraps around for triangles that are not small
  int32_t verdict[capacity];
  int32_t mask[capacity];
  float at_origin[capacity], dx[capacity], dy[capacity];

  void set(int l, const SnappedVertex& a, const SnappedVertex& b, const SnappedVertex& c) {
    ax[l] = a.x, ay[l] = a.y, az[l] = a.z;
    bx[l] = b.x, by[l] = b.y, bz[l] = b.z;
    cx[l] = c.x, cy[l] = c.y, cz[l] = c.z;
    flags[l] = a.flags | b.flags | c.flags;
  }

  // keep: a small triangle that may cover pixels of its box. keep_tiny: it covers some, and tiny() has it.
  // look_closer: clipping or wider arithmetic is needed.
  void judge(const Viewport& view) {
    place_boxes(view);
    bool any_tiny = false;
    for (int l = 0; l < capacity; ++l) {
      const bool is_tiny = (x1[l] - x0[l] < 4) & (y1[l] - y0[l] < 4);
      const int32_t kept = is_tiny ? keep_tiny : keep;
      verdict[l] = verdict[l] != keep ? verdict[l] : (area[l] == 0 ? drop : kept);
      any_tiny |= verdict[l] == keep_tiny;
    }
    if (!any_tiny) return;
    cover(view.subpixel_bits);
    for (int l = 0; l < capacity; ++l) verdict[l] = (verdict[l] == keep_tiny) & (mask[l] == 0) ? drop : verdict[l];
    make_depth_planes(view.subpixel_bits);
  }

  TinyTriangle tiny(int l, int32_t triangle) const {
    return {at_origin[l], dx[l], dy[l], min3(az[l], bz[l], cz[l]), max3(az[l], bz[l], cz[l]), triangle,
            static_cast<uint16_t>(x0[l]), static_cast<uint16_t>(y0[l]), static_cast<uint16_t>(mask[l])};
  }

 private:
  // a b - c d where it fits 32 bits, as for small triangles; wraps around for others, which do not use it.
  static int32_t cross(int32_t a, int32_t b, int32_t c, int32_t d) {
    const auto u = [](int32_t value) { return static_cast<uint32_t>(value); };
    return static_cast<int32_t>(u(a) * u(b) - u(c) * u(d));
  }

  void place_boxes(const Viewport& view) {
    const int32_t bits = view.subpixel_bits, half = 1 << (bits - 1), up = (1 << bits) - 1 - half;
    const int32_t last_x = view.width - 1, last_y = view.height - 1;
    for (int l = 0; l < capacity; ++l) {
      const int32_t left = min3(ax[l], bx[l], cx[l]), right = max3(ax[l], bx[l], cx[l]);
      const int32_t top = min3(ay[l], by[l], cy[l]), bottom = max3(ay[l], by[l], cy[l]);
      const int32_t first_x = (left + up) >> bits, first_y = (top + up) >> bits;
      x0[l] = first_x < 0 ? 0 : first_x;
      y0[l] = first_y < 0 ? 0 : first_y;
      x1[l] = (right - half) >> bits > last_x ? last_x : (right - half) >> bits;
      y1[l] = (bottom - half) >> bits > last_y ? last_y : (bottom - half) >> bits;
      area[l] = cross(bx[l] - ax[l], cy[l] - ay[l], cx[l] - ax[l], by[l] - ay[l]);
      const bool small = (right - left <= small_extent) & (bottom - top <= small_extent) & (bits <= 8);
      const bool hidden = (x0[l] > x1[l]) | (y0[l] > y1[l]);
      const int32_t ok = (small & (flags[l] == 0)) ? keep : look_closer;
      verdict[l] = hidden & (flags[l] == 0) ? drop : ok;
    }
  }

  // An edge function at the origin and its steps, the top-left rule folded in: negative is outside.
  // Unsigned: values of triangles that are not tiny wrap around.
  struct Edges {
    uint32_t value[capacity], step_x[capacity], step_y[capacity];
  };

  void prepare_edge(int32_t bits, const int32_t* px, const int32_t* py, const int32_t* qx, const int32_t* qy,
                    Edges& edge) const {
    const int32_t half = 1 << (bits - 1);
    for (int l = 0; l < capacity; ++l) {
      // Seen from the other side, the edge runs from q to p.
      const int32_t ex = area[l] < 0 ? px[l] - qx[l] : qx[l] - px[l], ey = area[l] < 0 ? py[l] - qy[l] : qy[l] - py[l];
      const int32_t top_left = (ey < 0) | ((ey == 0) & (ex > 0));
      const int32_t e = cross(ex, y0[l] * (1 << bits) + half - py[l], ey, x0[l] * (1 << bits) + half - px[l]);
      edge.value[l] = static_cast<uint32_t>(e) - (1 - top_left);
      edge.step_x[l] = (0u - static_cast<uint32_t>(ey)) << bits;
      edge.step_y[l] = static_cast<uint32_t>(ex) << bits;
    }
  }

  // The masks of tiny triangles; those of others mean nothing.
  void cover(int32_t bits) {
    alignas(64) Edges a, b, c;
    prepare_edge(bits, ax, ay, bx, by, a);
    prepare_edge(bits, bx, by, cx, cy, b);
    prepare_edge(bits, cx, cy, ax, ay, c);
    int32_t columns = 0, rows = 0;  // no tiny box has more
    for (int l = 0; l < capacity; ++l) {
      const bool is_tiny = verdict[l] == keep_tiny;
      columns = is_tiny & (x1[l] - x0[l] > columns) ? x1[l] - x0[l] : columns;
      rows = is_tiny & (y1[l] - y0[l] > rows) ? y1[l] - y0[l] : rows;
      mask[l] = 0;
    }
    for (uint32_t y = 0; y <= static_cast<uint32_t>(rows); ++y) {
      for (uint32_t x = 0; x <= static_cast<uint32_t>(columns); ++x) {
        for (int l = 0; l < capacity; ++l) {
          const uint32_t sides = (a.value[l] + x * a.step_x[l] + y * a.step_y[l]) |
                                 (b.value[l] + x * b.step_x[l] + y * b.step_y[l]) |
                                 (c.value[l] + x * c.step_x[l] + y * c.step_y[l]) |
                                 (static_cast<uint32_t>(x1[l] - x0[l]) - x) | (static_cast<uint32_t>(y1[l] - y0[l]) - y);
          mask[l] |= static_cast<int32_t>((sides >> 31) ^ 1) << (4 * y + x);
        }
      }
    }
  }

  // As coverage.h's make_depth_plane has it: turning a triangle round negates numerators and area alike.
  void make_depth_planes(int32_t bits) {
    const double size = static_cast<double>(1 << bits), half = size / 2;
    for (int l = 0; l < capacity; ++l) {
      const double twice = area[l] == 0 ? 1.0 : static_cast<double>(area[l]);
      const double z0 = az[l], dz1 = static_cast<double>(bz[l]) - z0, dz2 = static_cast<double>(cz[l]) - z0;
      const double zx = (dz1 * (cy[l] - ay[l]) - dz2 * (by[l] - ay[l])) / twice * size;
      const double zy = (dz2 * (bx[l] - ax[l]) - dz1 * (cx[l] - ax[l])) / twice * size;
      at_origin[l] = static_cast<float>(z0 + zx * ((x0[l] * size + half - ax[l]) / size) +
                                        zy * ((y0[l] * size + half - ay[l]) / size));
      dx[l] = static_cast<float>(zx);
      dy[l] = static_cast<float>(zy);
    }
  }
};

}  // namespace lg
