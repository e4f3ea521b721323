// Marching cubes: the contribution of a word, 64 points of a row of the grid.
//
// A bit per point says whether it is inside, so edges that the surface cuts are found 64 at a time. The number of a
// vertex is that of its word plus the number of set bits before it, so no table of vertices is needed. An item is
// everything that belongs to one word: its points, the edges that begin at these points, and the cells whose lowest
// corners they are.
#pragma once

#include <cmath>
#include <cstdint>

#include "implicit/cube_cases.h"
#include "runtime/config.h"

namespace lg::implicit {

LG_HD int bits_in(uint64_t word) {
#if defined(__CUDA_ARCH__)
  return __popcll(word);
#else
  return __builtin_popcountll(word);
#endif
}

LG_HD int lowest_of(uint64_t word) {
#if defined(__CUDA_ARCH__)
  return __ffsll(static_cast<long long>(word)) - 1;
#else
  return __builtin_ctzll(word);
#endif
}

// The lowest `count` bits, for any count.
LG_HD uint64_t first_bits(int64_t count) {
  return count <= 0 ? 0 : count >= 64 ? ~uint64_t{0} : (uint64_t{1} << count) - 1;
}

// The grid. Row z height + y of points starts at word row * words.
template <class T>
struct Lattice {
  const T* values;
  T level;
  int64_t depth, height, width, words;

  LG_HD int64_t word_count() const { return depth * height * words; }
};

struct WordPlace {
  int64_t number, row, x, y, z;  // x of its first point
};

template <class T>
LG_HD WordPlace place_of(const Lattice<T>& grid, int64_t word) {
  const int64_t row = word / grid.words, z = row / grid.height;
  return {word, row, (word - row * grid.words) * 64, row - z * grid.height, z};
}

template <class T>
struct MarkInside {
  Lattice<T> grid;
  int64_t* bits;

  LG_HD void operator()(int64_t word) const {
    const int64_t row = word / grid.words, x = (word - row * grid.words) * 64;
    const T* value = grid.values + row * grid.width + x;
    const int64_t count = grid.width - x < 64 ? grid.width - x : 64;
    const T level = grid.level;
    uint64_t inside = 0;
    if (LG_LIKELY(count == 64)) {
      for (int i = 0; i < 64; i += 8) {
        uint64_t part = 0;
        LG_UNROLL
        for (int k = 0; k < 8; ++k) part |= static_cast<uint64_t>(value[i + k] <= level) << k;
        inside |= part << i;
      }
    } else {
      for (int64_t i = 0; i < count; ++i) inside |= static_cast<uint64_t>(value[i] <= level) << i;
    }
    bits[word] = static_cast<int64_t>(inside);
  }
};

// The bits of a word in the rows (y, z), (y+1, z), (y, z+1), (y+1, z+1), and the same bits one point further along x.
// Rows outside the grid are repeated: nothing is cut between a row and itself.
struct WordBits {
  uint64_t here[4], shifted[4];
  int64_t word[4];
  uint64_t points, steps;  // which of the points exist, and which have a successor along x
  bool has_cells;

  template <class T>
  LG_HD WordBits(const Lattice<T>& grid, const WordPlace& place, const int64_t* bits) {
    points = first_bits(grid.width - place.x);
    steps = first_bits(grid.width - 1 - place.x);
    const bool y_next = place.y + 1 < grid.height, z_next = place.z + 1 < grid.depth;
    has_cells = y_next && z_next;
    const bool last = place.x + 64 >= grid.width;
    LG_UNROLL
    for (int r = 0; r < 4; ++r) {
      const int64_t rows = ((r & 1) && y_next ? 1 : 0) + ((r & 2) && z_next ? grid.height : 0);
      word[r] = place.number + rows * grid.words;
      here[r] = static_cast<uint64_t>(bits[word[r]]);
      const uint64_t next = last ? 0 : static_cast<uint64_t>(bits[word[r] + 1]);
      shifted[r] = here[r] >> 1 | next << 63;
    }
  }

  // The cut edges along an axis, by the points in row r at which they begin.
  LG_HD uint64_t cut(int axis, int r) const {
    if (axis == 0) return (here[r] ^ shifted[r]) & steps;
    return (here[r] ^ here[r | axis]) & points;
  }

  // Cells that have corners inside and outside.
  LG_HD uint64_t mixed() const {
    if (!has_cells) return 0;
    const uint64_t all = here[0] & here[1] & here[2] & here[3] & shifted[0] & shifted[1] & shifted[2] & shifted[3];
    const uint64_t any = here[0] | here[1] | here[2] | here[3] | shifted[0] | shifted[1] | shifted[2] | shifted[3];
    return any & ~all & steps;
  }

  LG_HD int cube_case(int i) const {
    int out = 0;
    LG_UNROLL
    for (int r = 0; r < 4; ++r) {
      out |= static_cast<int>(here[r] >> i & 1) << (2 * r) | static_cast<int>(shifted[r] >> i & 1) << (2 * r + 1);
    }
    return out;
  }
};

// Whether the inside corners of an ambiguous face are joined across it: the sign at the saddle of the values, which are
// bilinear on the face (the asymptotic decider). Only products of two values count, so both cells at a face agree.
template <class T>
LG_HD bool is_joined(const Lattice<T>& grid, const T* lowest_corner, int face, bool first_inside) {
  T s[4];
  LG_UNROLL
  for (int i = 0; i < 4; ++i) {
    const int c = face_corner(face, i);
    s[i] = lowest_corner[(c & 1) + ((c >> 1 & 1) + (c >> 2) * grid.height) * grid.width] - grid.level;
  }
  const T even = s[0] * s[2], odd = s[1] * s[3];
  return first_inside ? even >= odd : odd >= even;
}

template <class T>
LG_HD const CubeCases::Subcase& subcase_of(const Lattice<T>& grid, const CubeCases& cases, const WordPlace& place,
                                           int i, int cube_case) {
  uint32_t number = cases.first[cube_case];
  const uint32_t ambiguous = cases.ambiguous[cube_case];
  if (LG_UNLIKELY(ambiguous)) {
    const T* lowest = grid.values + place.row * grid.width + place.x + i;
    int bit = 0;
    for (int face = 0; face < 6; ++face) {
      if (!(ambiguous >> face & 1)) continue;
      const bool joined = is_joined(grid, lowest, face, cube_case >> face_corner(face, 0) & 1);
      number += static_cast<uint32_t>(joined) << bit++;
    }
  }
  return cases.subcase[number];
}

// N: the type of the counts, which are then added up.
template <class T, class N>
struct CountWord {
  Lattice<T> grid;
  const CubeCases* cases;
  const int64_t* bits;
  N *vertices, *triangles, *centres;

  LG_HD void operator()(int64_t word) const {
    const WordPlace place = place_of(grid, word);
    const WordBits rows(grid, place, bits);
    for (int axis = 0; axis < 3; ++axis) vertices[3 * word + axis] = static_cast<N>(bits_in(rows.cut(axis, 0)));
    uint32_t found = 0, hubs = 0;
    for (uint64_t mixed = rows.mixed(); mixed; mixed &= mixed - 1) {
      const int i = lowest_of(mixed);
      const CubeCases::Subcase& subcase = subcase_of(grid, *cases, place, i, rows.cube_case(i));
      found += subcase.triangles;
      hubs += subcase.centre_loop > 0;
    }
    triangles[word] = static_cast<N>(found);
    centres[word] = static_cast<N>(hubs);
  }
};

// Where the surface cuts an edge between values a and b, as a fraction of the edge; 1/2 if a value is not finite.
template <class T>
LG_HD T crossing_between(T a, T b, T level) {
  const T part = (level - a) / (b - a);
  return part >= 0 && part <= 1 && std::isfinite(a) && std::isfinite(b) ? part : T(0.5);
}

template <class T>
struct EmitWord {
  Lattice<T> grid;
  const CubeCases* cases;
  const int64_t* bits;
  const int32_t *vertex_base, *triangle_base, *centre_base;
  int64_t vertices, triangles, centres;
  T* verts;
  int32_t *faces, *loops;

  LG_HD void operator()(int64_t word) const {
    const WordPlace place = place_of(grid, word);
    const WordBits rows(grid, place, bits);
    emit_vertices(place, rows);
    emit_cells(place, rows);
  }

 private:
  LG_HD void emit_vertices(const WordPlace& place, const WordBits& rows) const {
    const int64_t step[3] = {1, grid.width, grid.width * grid.height};
    for (int axis = 0; axis < 3; ++axis) {
      int64_t vertex = vertex_base[3 * place.number + axis];
      for (uint64_t cut = rows.cut(axis, 0); cut; cut &= cut - 1, ++vertex) {
        if (static_cast<uint64_t>(vertex) >= static_cast<uint64_t>(vertices)) return;
        const int64_t x = place.x + lowest_of(cut);
        const T* value = grid.values + place.row * grid.width + x;
        T at[3] = {static_cast<T>(x), static_cast<T>(place.y), static_cast<T>(place.z)};
        at[axis] += crossing_between(value[0], value[step[axis]], grid.level);
        for (int k = 0; k < 3; ++k) verts[3 * vertex + k] = at[k];
      }
    }
  }

  LG_HD int32_t vertex_on(const WordBits& rows, int edge, int i) const {
    const int axis = edge / 4, corner = edge_corner(edge), r = corner >> 1;
    const int at = i + (corner & 1);
    if (at == 64) return vertex_base[3 * (rows.word[r] + 1) + axis];
    const int before = bits_in(rows.cut(axis, r) & first_bits(at));
    return vertex_base[3 * rows.word[r] + axis] + before;
  }

  LG_HD void emit_cells(const WordPlace& place, const WordBits& rows) const {
    int64_t triangle = triangle_base[place.number], centre = centre_base[place.number];
    for (uint64_t mixed = rows.mixed(); mixed; mixed &= mixed - 1) {
      const int i = lowest_of(mixed);
      const CubeCases::Subcase& subcase = subcase_of(grid, *cases, place, i, rows.cube_case(i));
      for (uint32_t t = 0; t < subcase.triangles; ++t, ++triangle) {
        if (static_cast<uint64_t>(triangle) >= static_cast<uint64_t>(triangles)) return;
        const uint8_t* corner = cases->corner[subcase.first_triangle + t];
        for (int k = 0; k < 3; ++k) {
          faces[3 * triangle + k] =
              corner[k] == cube_centre ? static_cast<int32_t>(vertices + centre) : vertex_on(rows, corner[k], i);
        }
      }
      if (LG_LIKELY(!subcase.centre_loop)) continue;
      if (static_cast<uint64_t>(centre) >= static_cast<uint64_t>(centres)) return;
      for (int k = 0; k < cube_edges; ++k) {
        const bool used = static_cast<uint32_t>(k) < subcase.centre_loop;
        loops[cube_edges * centre + k] = used ? vertex_on(rows, subcase.loop[k], i) : -1;
      }
      ++centre;
    }
  }
};

// Each point gathers from the six edges that meet in it.
template <class T>
struct PullBackWord {
  Lattice<T> grid;
  const int64_t* bits;
  const int32_t* vertex_base;
  int64_t vertices;
  const T* grad_verts;
  T* grad_values;

  LG_HD void operator()(int64_t word) const {
    const WordPlace place = place_of(grid, word);
    const int64_t index[3] = {place.x, place.y, place.z}, rows[3] = {0, 1, grid.height};
    const WordBits own(grid, place, bits);
    uint64_t begins[3], ends[3];
    for (int axis = 0; axis < 3; ++axis) {
      begins[axis] = own.cut(axis, 0);
      ends[axis] = axis == 0 ? begins[0] << 1 : 0;
      if (index[axis] > 0) ends[axis] |= cuts_before(word, axis, rows[axis]);
    }
    const uint64_t touched = begins[0] | begins[1] | begins[2] | ends[0] | ends[1] | ends[2];
    T* grad = grad_values + place.row * grid.width + place.x;
    const int64_t count = grid.width - place.x < 64 ? grid.width - place.x : 64;
    for (int64_t i = 0; i < count; ++i) {
      grad[i] = touched >> i & 1 ? gradient_at(place, static_cast<int>(i), begins, ends) : T(0);
    }
  }

 private:
  // The edges along an axis that end in this word and begin in another.
  LG_HD uint64_t cuts_before(int64_t word, int axis, int64_t rows) const {
    const int64_t other = axis == 0 ? word - 1 : word - rows * grid.words;
    const uint64_t cut = WordBits(grid, place_of(grid, other), bits).cut(axis, 0);
    return axis == 0 ? cut >> 63 : cut;
  }

  LG_HD T gradient_at(const WordPlace& place, int i, const uint64_t (&begins)[3], const uint64_t (&ends)[3]) const {
    const int64_t step[3] = {1, grid.width, grid.width * grid.height};
    const int64_t words[3] = {0, grid.words, grid.words * grid.height};
    const T* value = grid.values + place.row * grid.width + place.x + i;
    T sum = 0;
    for (int axis = 0; axis < 3; ++axis) {
      if (begins[axis] >> i & 1) {
        const int64_t vertex = vertex_base[3 * place.number + axis] + bits_in(begins[axis] & first_bits(i));
        sum += slope(vertex, axis, value[0], value[step[axis]], value[step[axis]]);
      }
      if (ends[axis] >> i & 1) {
        int64_t vertex = vertex_base[3 * (place.number - words[axis]) + axis];
        if (axis != 0) {
          vertex += bits_in(ends[axis] & first_bits(i));
        } else if (i > 0) {
          vertex += bits_in(begins[0] & first_bits(i - 1));
        } else {
          vertex = last_of_word_before(place.number);
        }
        sum -= slope(vertex, axis, value[-step[axis]], value[0], value[-step[axis]]);
      }
    }
    return sum;
  }

  // The last vertex on an edge along x of the previous word; vertices along y follow.
  LG_HD int64_t last_of_word_before(int64_t word) const { return int64_t{vertex_base[3 * (word - 1) + 1]} - 1; }

  // grad_verts times (level - other) / (b - a)^2: the derivative with respect to a with other = b, and minus that with
  // respect to b with other = a.
  LG_HD T slope(int64_t vertex, int axis, T a, T b, T other) const {
    if (static_cast<uint64_t>(vertex) >= static_cast<uint64_t>(vertices)) return 0;
    const T derivative = (grid.level - other) / (b - a) / (b - a);
    return std::isfinite(derivative) ? derivative * grad_verts[3 * vertex + axis] : T(0);
  }
};

}  // namespace lg::implicit
