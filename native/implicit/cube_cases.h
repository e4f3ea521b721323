// The cases of marching cubes, derived from how the surface cuts the faces of a cell. Host code; kernels receive the
// table.
//
// Corner c of a cell lies at x = c & 1, y = c >> 1 & 1, z = c >> 2. Edges are numbered axis by axis, each by its lower
// corner. The surface cuts a face in one segment, or in two if only opposite corners are alike. Such a face is
// ambiguous, and a bit says whether its inside corners are joined across it. Both cells at a face see the same
// segments. The segments of a cell's faces form loops, and each loop is filled with triangles. No inner edge of a loop
// may lie in a face: the cell on the other side may have the same one, which would give an edge of four triangles.
// Where that cannot be avoided, the triangles meet in a centre.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

#include "runtime/config.h"

namespace lg::implicit {

constexpr int cube_edges = 12, cube_centre = 12, cube_subcases = 656, cube_case_triangles = 4096;

// Lower corner of an edge.
LG_HD int edge_corner(int edge) {
  const int axis = edge / 4, i = edge % 4;
  return axis == 0 ? 2 * i : axis == 1 ? (i & 1) | (i & 2) << 1 : i;
}

// Corner i, counter-clockwise as seen from outside, of face 2 axis + side.
LG_HD int face_corner(int face, int i) {
  const int axis = face / 2, side = face % 2, u = (axis + 1) % 3, v = (axis + 2) % 3;
  const int k = side ? i : 3 - i;
  return side << axis | (k == 1 || k == 2) << u | (k >= 2) << v;
}

// Bit c of a cube case is set where corner c is inside.
LG_HD bool is_ambiguous(int cube_case, int face) {
  const int a = cube_case >> face_corner(face, 0) & 1, b = cube_case >> face_corner(face, 1) & 1;
  return a != b && a == (cube_case >> face_corner(face, 2) & 1) && b == (cube_case >> face_corner(face, 3) & 1);
}

struct CubeCases {
  // The ambiguous faces of the case, and its first subcase. Subcases are numbered by the bits of these faces.
  uint32_t ambiguous[256], first[256];
  struct Subcase {
    uint32_t first_triangle, triangles;
    uint32_t centre_loop;  // the number of edges around the centre, or 0
    uint8_t loop[cube_edges];
  } subcase[cube_subcases];
  // Corners of triangles: edges, or cube_centre.
  uint8_t corner[cube_case_triangles][4];
};

class CubeCasesBuilder {
 public:
  static const CubeCases& cases() {
    static const CubeCasesBuilder built;
    return built.out_;
  }

 private:
  struct Loop {
    int size = 0;
    std::array<int, cube_edges> edge = {};
  };

  CubeCasesBuilder() {
    for (int cube_case = 0; cube_case < 256; ++cube_case) {
      out_.first[cube_case] = subcases_;
      int faces = 0;
      for (int face = 0; face < 6; ++face) {
        if (!is_ambiguous(cube_case, face)) continue;
        out_.ambiguous[cube_case] |= 1u << face;
        ++faces;
      }
      for (uint32_t joined = 0; joined < 1u << faces; ++joined) add_subcase(cube_case, joined);
    }
  }

  static int edge_between(int a, int b) {
    const int low = std::min(a, b), axis = (a ^ b) / 2;  // 1, 2, 4 are axes 0, 1, 2
    for (int i = 4 * axis; i < 4 * axis + 4; ++i) {
      if (edge_corner(i) == low) return i;
    }
    return -1;
  }

  static uint32_t faces_of(int edge) {
    uint32_t faces = 0;
    const int axis = edge / 4, corner = edge_corner(edge);
    for (int other = 0; other < 3; ++other) {
      if (other != axis) faces |= 1u << (2 * other + (corner >> other & 1));
    }
    return faces;
  }

  // The edge at which a loop continues, for each edge.
  std::array<int, cube_edges> segments(int cube_case, uint32_t joined) const {
    std::array<int, cube_edges> next;
    next.fill(-1);
    int bit = 0;
    for (int face = 0; face < 6; ++face) {
      const bool ambiguous = is_ambiguous(cube_case, face);
      const bool join = ambiguous && (joined >> bit & 1);
      bit += ambiguous;
      int corner[4], edge[4];
      bool inside[4];
      for (int i = 0; i < 4; ++i) {
        corner[i] = face_corner(face, i);
        inside[i] = cube_case >> corner[i] & 1;
      }
      for (int i = 0; i < 4; ++i) edge[i] = edge_between(corner[i], corner[(i + 1) % 4]);
      for (int i = 0; i < 4; ++i) {
        if (!inside[i] || inside[(i + 1) % 4]) continue;  // where the boundary of the face leaves the inside
        int j = (i + 3) % 4;                              // where it has entered it
        if (join) j = (i + 1) % 4;
        while (inside[j] || !inside[(j + 1) % 4]) j = (j + 3) % 4;
        next[edge[j]] = edge[i];
      }
    }
    return next;
  }

  void add_subcase(int cube_case, uint32_t joined) {
    CubeCases::Subcase& subcase = out_.subcase[subcases_++];
    subcase.first_triangle = triangles_;
    std::array<int, cube_edges> next = segments(cube_case, joined);
    for (int start = 0; start < cube_edges; ++start) {
      Loop loop;
      for (int edge = start; next[edge] >= 0;) {
        loop.edge[loop.size++] = edge;
        edge = std::exchange(next[edge], -1);
      }
      if (loop.size) fill(loop, subcase);
    }
    subcase.triangles = triangles_ - subcase.first_triangle;
  }

  void fill(const Loop& loop, CubeCases::Subcase& subcase) {
    if (fewest_in_faces(loop) == 0) {
      split(loop, 0, loop.size - 1);
      return;
    }
    subcase.centre_loop = static_cast<uint32_t>(loop.size);
    for (int i = 0; i < loop.size; ++i) {
      subcase.loop[i] = static_cast<uint8_t>(loop.edge[i]);
      add_triangle(loop.edge[i], loop.edge[(i + 1) % loop.size], cube_centre);
    }
  }

  // The smallest number of inner edges in faces, over all ways to divide a loop into triangles. The best way is kept as
  // the third corner of the triangle on each chord.
  int fewest_in_faces(const Loop& loop) {
    int cost[cube_edges][cube_edges] = {};
    for (int length = 2; length < loop.size; ++length) {
      for (int i = 0; i + length < loop.size; ++i) {
        const int j = i + length;
        int best = 1 << 20;
        for (int k = i + 1; k < j; ++k) {
          const int found = cost[i][k] + cost[k][j] + in_face(loop, i, k) + in_face(loop, k, j);
          if (found >= best) continue;
          best = found;
          third_[i][j] = k;
        }
        cost[i][j] = best;
      }
    }
    return cost[0][loop.size - 1];
  }

  static int in_face(const Loop& loop, int i, int j) {
    if (j - i == 1 || j - i == loop.size - 1) return 0;  // an edge of the loop
    return (faces_of(loop.edge[i]) & faces_of(loop.edge[j])) != 0;
  }

  void split(const Loop& loop, int i, int j) {
    if (j - i < 2) return;
    const int k = third_[i][j];
    add_triangle(loop.edge[i], loop.edge[k], loop.edge[j]);
    split(loop, i, k);
    split(loop, k, j);
  }

  void add_triangle(int a, int b, int c) {
    uint8_t* corner = out_.corner[triangles_++];
    corner[0] = static_cast<uint8_t>(a);
    corner[1] = static_cast<uint8_t>(b);
    corner[2] = static_cast<uint8_t>(c);
  }

  CubeCases out_ = {};
  uint32_t subcases_ = 0, triangles_ = 0;
  int third_[cube_edges][cube_edges] = {};
};

}  // namespace lg::implicit
