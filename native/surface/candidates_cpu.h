// Triangles before binning: tested and set up sixteen at a time.
#pragma once

#include <cstdint>

#include "math/gather.h"
#include "surface/coverage.h"

namespace lg::surface {

// Triangles up to this size (in sub-pixels: 32 pixels) can be set up in 32 bits wherever they touch a tile.
constexpr int32_t small_extent = 1 << 13;

// A triangle whose box holds at most 4x4 pixel centres, ready to be drawn: its coverage has already been decided.
struct TinyTriangle {
  float at_origin, dx, dy, low, high;  // its depth plane
  int32_t triangle;
  uint16_t x, y;  // the origin: its box's first pixel
  uint16_t mask;  // bit 4 * row + column: it covers the pixel that far from the origin
};

// Sixteen triangles side by side: plain loops over the lanes, which compilers vectorise. Most triangles of a fine mesh
// contain no pixel centre and are dropped here, and most of the rest are tiny.
struct alignas(64) CandidateTriangles {
  static constexpr int capacity = 16;
  enum Verdict : int32_t { drop, keep, keep_tiny, look_closer };

  int count;
  struct Corner {  // SnappedVertex, as one array per value
    int32_t x[capacity], y[capacity];
    float z[capacity];
    uint32_t flags[capacity];
  };
  Corner a, b, c;
  uint32_t flags[capacity];  // the union of the flags of the three vertices
  int32_t x0[capacity], y0[capacity], x1[capacity], y1[capacity];
  int32_t area[capacity];  // doubled and signed; wraps around for triangles that are not small
  int32_t verdict[capacity];
  int32_t mask[capacity];
  float at_origin[capacity], dx[capacity], dy[capacity];

  // index: three vertices for each of `count` triangles, all valid.
  void load(const SnappedVertex* vertices, const int32_t* index) {
    static_assert(sizeof(SnappedVertex) == 16 && sizeof(Corner) == 4 * 4 * capacity, "records of four 32-bit values");
    gather_corners(vertices, index, count, &a, &b, &c);
    for (int l = 0; l < capacity; ++l) flags[l] = a.flags[l] | b.flags[l] | c.flags[l];
  }

  // keep: a small triangle that may cover pixels of its box. keep_tiny: it covers some, and tiny() returns it.
  // look_closer: it needs clipping or wider arithmetic.
  void judge(const Viewport& view) {
    place_boxes(view);
    // Integers, because loops over bools are not vectorised.
    int32_t any_tiny = 0;
    for (int l = 0; l < capacity; ++l) {
      const int32_t is_tiny = static_cast<int32_t>(x1[l] - x0[l] < 4) & static_cast<int32_t>(y1[l] - y0[l] < 4);
      const int32_t kept = is_tiny ? keep_tiny : keep, judged = area[l] == 0 ? drop : kept;
      verdict[l] = verdict[l] == keep ? judged : verdict[l];
      any_tiny |= verdict[l] == keep_tiny ? 1 : 0;
    }
    if (any_tiny == 0) return;
    cover(view.subpixel_bits);
    for (int l = 0; l < capacity; ++l) {
      const int32_t kept = mask[l] == 0 ? drop : keep_tiny;
      verdict[l] = verdict[l] == keep_tiny ? kept : verdict[l];
    }
    make_depth_planes(view.subpixel_bits);
  }

  TinyTriangle tiny(int l, int32_t triangle) const {
    return {at_origin[l],
            dx[l],
            dy[l],
            min3(a.z[l], b.z[l], c.z[l]),
            max3(a.z[l], b.z[l], c.z[l]),
            triangle,
            static_cast<uint16_t>(x0[l]),
            static_cast<uint16_t>(y0[l]),
            static_cast<uint16_t>(mask[l])};
  }

 private:
  // a b - c d if it fits into 32 bits, as it does for small triangles. It wraps around for others, which do not use it.
  static int32_t cross(int32_t a, int32_t b, int32_t c, int32_t d) {
    const auto u = [](int32_t value) { return static_cast<uint32_t>(value); };
    return static_cast<int32_t>(u(a) * u(b) - u(c) * u(d));
  }

  void place_boxes(const Viewport& view) {
    const int32_t bits = view.subpixel_bits, half = 1 << (bits - 1), up = (1 << bits) - 1 - half;
    const int32_t last_x = view.width - 1, last_y = view.height - 1;
    for (int l = 0; l < capacity; ++l) {
      const int32_t left = min3(a.x[l], b.x[l], c.x[l]), right = max3(a.x[l], b.x[l], c.x[l]);
      const int32_t top = min3(a.y[l], b.y[l], c.y[l]), bottom = max3(a.y[l], b.y[l], c.y[l]);
      const int32_t first_x = (left + up) >> bits, first_y = (top + up) >> bits;
      x0[l] = first_x < 0 ? 0 : first_x;
      y0[l] = first_y < 0 ? 0 : first_y;
      x1[l] = (right - half) >> bits > last_x ? last_x : (right - half) >> bits;
      y1[l] = (bottom - half) >> bits > last_y ? last_y : (bottom - half) >> bits;
      area[l] = cross(b.x[l] - a.x[l], c.y[l] - a.y[l], c.x[l] - a.x[l], b.y[l] - a.y[l]);
      const bool small = (right - left <= small_extent) & (bottom - top <= small_extent) & (bits <= 8);
      const bool hidden = (x0[l] > x1[l]) | (y0[l] > y1[l]);
      const int32_t ok = (small & (flags[l] == 0)) ? keep : look_closer;
      verdict[l] = (hidden & (flags[l] == 0)) ? drop : ok;
    }
  }

  // An edge function at the origin and its steps, including the top-left rule: negative means outside. Unsigned,
  // because values of triangles that are not tiny wrap around.
  struct Edges {
    uint32_t value[capacity], step_x[capacity], step_y[capacity];
  };

  void prepare_edge(int32_t bits, const Corner& p, const Corner& q, Edges& edge) const {
    const int32_t half = 1 << (bits - 1);
    for (int l = 0; l < capacity; ++l) {
      // Seen from behind, the edge runs from q to p.
      const int32_t ex = area[l] < 0 ? p.x[l] - q.x[l] : q.x[l] - p.x[l],
                    ey = area[l] < 0 ? p.y[l] - q.y[l] : q.y[l] - p.y[l];
      const int32_t top_left = (ey < 0) | ((ey == 0) & (ex > 0));
      const int32_t e = cross(ex, y0[l] * (1 << bits) + half - p.y[l], ey, x0[l] * (1 << bits) + half - p.x[l]);
      edge.value[l] = static_cast<uint32_t>(e) - (1 - top_left);
      edge.step_x[l] = (0u - static_cast<uint32_t>(ey)) << bits;
      edge.step_y[l] = static_cast<uint32_t>(ex) << bits;
    }
  }

  // The masks of tiny triangles. Those of others are undefined.
  void cover(int32_t bits) {
    alignas(64) Edges ab, bc, ca;
    prepare_edge(bits, a, b, ab);
    prepare_edge(bits, b, c, bc);
    prepare_edge(bits, c, a, ca);
    int32_t columns = 0, rows = 0;  // no tiny triangle has a larger box
    for (int l = 0; l < capacity; ++l) {
      const int32_t across = verdict[l] == keep_tiny ? x1[l] - x0[l] : 0;
      const int32_t down = verdict[l] == keep_tiny ? y1[l] - y0[l] : 0;
      columns = across > columns ? across : columns;
      rows = down > rows ? down : rows;
      mask[l] = 0;
    }
    for (uint32_t y = 0; y <= static_cast<uint32_t>(rows); ++y) {
      for (uint32_t x = 0; x <= static_cast<uint32_t>(columns); ++x) {
        for (int l = 0; l < capacity; ++l) {
          const uint32_t sides = (ab.value[l] + x * ab.step_x[l] + y * ab.step_y[l]) |
                                 (bc.value[l] + x * bc.step_x[l] + y * bc.step_y[l]) |
                                 (ca.value[l] + x * ca.step_x[l] + y * ca.step_y[l]) |
                                 (static_cast<uint32_t>(x1[l] - x0[l]) - x) |
                                 (static_cast<uint32_t>(y1[l] - y0[l]) - y);
          mask[l] |= static_cast<int32_t>((sides >> 31) ^ 1) << (4 * y + x);
        }
      }
    }
  }

  // The formula of make_depth_plane in coverage.h: reversing a triangle negates both the numerators and the area.
  void make_depth_planes(int32_t bits) {
    const double size = static_cast<double>(1 << bits), half = size / 2;
    for (int l = 0; l < capacity; ++l) {
      const double twice = area[l] == 0 ? 1.0 : static_cast<double>(area[l]);
      const double z0 = a.z[l], dz1 = static_cast<double>(b.z[l]) - z0, dz2 = static_cast<double>(c.z[l]) - z0;
      const double zx = (dz1 * (c.y[l] - a.y[l]) - dz2 * (b.y[l] - a.y[l])) / twice * size;
      const double zy = (dz2 * (b.x[l] - a.x[l]) - dz1 * (c.x[l] - a.x[l])) / twice * size;
      at_origin[l] = static_cast<float>(z0 + zx * ((x0[l] * size + half - a.x[l]) / size) +
                                        zy * ((y0[l] * size + half - a.y[l]) / size));
      dx[l] = static_cast<float>(zx);
      dy[l] = static_cast<float>(zy);
    }
  }
};

}  // namespace lg::surface
