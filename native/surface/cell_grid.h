// A grid of square cells over an image, and for each cell the triangles whose boxes touch it.
//
// Cells are as small as a bound on the number of entries allows, so a cell of a fine mesh holds few triangles and a
// large triangle has few entries.
#pragma once

#include <cstdint>

#include "runtime/config.h"

namespace lg::surface {

// The pixels that a triangle can touch and its range of depths. Empty if x0 > x1.
struct TriangleBox {
  float x0, y0, x1, y1, z0, z1;

  LG_HD bool empty() const { return !(x0 <= x1); }
  LG_HD bool meets(const TriangleBox& other) const {
    return x0 <= other.x1 && x1 >= other.x0 && y0 <= other.y1 && y1 >= other.y0 && z0 <= other.z1 && z1 >= other.z0;
  }
};

constexpr int smallest_shift = 1, largest_shift = 15;
constexpr int shifts = largest_shift - smallest_shift + 1;

// Bounds on the cells of a grid, and on the entries in all lists, for a number of triangles.
LG_HD int64_t most_cells(int64_t triangles) { return 4 * triangles + 4096; }
LG_HD int64_t most_entries(int64_t triangles) { return 6 * triangles + 16384; }

struct CellRange {
  int32_t x0, y0, x1, y1;  // inclusive

  LG_HD int64_t cells() const { return int64_t{x1 - x0 + 1} * (y1 - y0 + 1); }
};

struct CellGrid {
  int32_t shift, columns, rows;

  LG_HD int64_t cells() const { return int64_t{columns} * rows; }
  LG_HD int32_t column(double x) const { return limit_to(x, columns); }
  LG_HD int32_t row(double y) const { return limit_to(y, rows); }
  LG_HD int64_t cell(int32_t column, int32_t row) const { return int64_t{row} * columns + column; }
  LG_HD int64_t cell_at(double x, double y) const { return cell(column(x), row(y)); }
  // The cells of a box within the image.
  LG_HD CellRange range(const TriangleBox& box) const {
    return {column(box.x0), row(box.y0), column(box.x1), row(box.y1)};
  }
  // Calls body(cell) for the cells that a box touches.
  template <class Body>
  LG_HD void for_cells(const TriangleBox& box, const Body& body) const {
    if (box.empty()) return;
    const CellRange cells = range(box);
    for (int32_t r = cells.y0; r <= cells.y1; ++r) {
      for (int32_t c = cells.x0; c <= cells.x1; ++c) body(cell(c, r));
    }
  }

 private:
  LG_HD int32_t limit_to(double v, int32_t count) const {
    const int32_t cell = static_cast<int32_t>(v < 0 ? 0 : v) >> shift;
    return cell < count ? cell : count - 1;
  }
};

LG_HD CellGrid make_grid(int64_t width, int64_t height, int shift) {
  return {shift, static_cast<int32_t>(((width - 1) >> shift) + 1), static_cast<int32_t>(((height - 1) >> shift) + 1)};
}

// Adds the number of cells that a box within the image touches, for each shift.
LG_HD void count_entries(const TriangleBox& box, int64_t width, int64_t height, int64_t* entries) {
  const auto last_x = static_cast<int32_t>(width - 1), last_y = static_cast<int32_t>(height - 1);
  const auto x0 = static_cast<int32_t>(box.x0), y0 = static_cast<int32_t>(box.y0);
  int32_t x1 = static_cast<int32_t>(box.x1), y1 = static_cast<int32_t>(box.y1);
  x1 = x1 < last_x ? x1 : last_x, y1 = y1 < last_y ? y1 : last_y;
  for (int i = 0; i < shifts; ++i) {
    const int shift = smallest_shift + i;
    const int32_t across = (x1 >> shift) - (x0 >> shift) + 1, down = (y1 >> shift) - (y0 >> shift) + 1;
    entries[i] += across * down;
  }
}

// The lists: list i is entries[begin[i]] to entries[begin[i + 1]].
struct CellLists {
  CellGrid grid;
  const int32_t* begin;
  const int32_t* entries;
};

// The smallest cells whose lists fit for a number of triangles. entries: the number of entries for each shift.
LG_HD CellGrid choose_grid(int64_t width, int64_t height, int64_t triangles, const int64_t* entries) {
  for (int shift = smallest_shift; shift < largest_shift; ++shift) {
    const CellGrid grid = make_grid(width, height, shift);
    if (grid.cells() <= most_cells(triangles) && entries[shift - smallest_shift] <= most_entries(triangles))
      return grid;
  }
  return make_grid(width, height, largest_shift);
}

}  // namespace lg::surface
