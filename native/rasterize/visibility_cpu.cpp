// Sort-middle rasterization on the CPU: snap vertices, bin triangles to 64x64 tiles in index order, then
// rasterize tile by tile in 4x4 blocks with integer edge functions. Every phase is a parallel_for; the
// order in which a tile sees its triangles is their index order, whatever the number of threads.
#include "rasterize/visibility_cpu.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <vector>

#include "common/lanes.h"
#include "common/memory.h"
#include "common/parallel.h"
#include "common/status.h"
#include "rasterize/coverage.h"

namespace lg {
namespace {

constexpr int64_t vertices_per_task = 4096;
constexpr int64_t prefetch_distance = 12;  // triangles
constexpr int64_t min_triangles_per_chunk = 1024;
constexpr int64_t max_chunks_per_view = 64;
constexpr int64_t group_work = 1 << 20;  // views are processed together up to this many triangles or pixels / 4

// The place of each lane in its 4x4 block.
alignas(64) constexpr int32_t lane_column[block_lanes] = {0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3};
alignas(64) constexpr int32_t lane_row[block_lanes] = {0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3};
alignas(64) constexpr float lane_x[block_lanes] = {0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3};
alignas(64) constexpr float lane_y[block_lanes] = {0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3};

// A triangle that may touch pixels. Its corners are those of triangle `source` of tri, or, when negative,
// those of clipped triangle ~source of its chunk.
struct BinnedTriangle {
  int32_t source;
  uint16_t tile_x0, tile_x1, tile_y0, tile_y1;
};

struct ClippedTriangle {
  SnappedVertex vertex[3];
  int32_t triangle;
};

// A run of consecutive triangles of one view, binned by one task.
struct Chunk {
  int64_t view = 0;  // within the group
  int64_t first = 0, count = 0;
  Array<BinnedTriangle> binned;
  Array<ClippedTriangle> clipped;
  int64_t clipped_base = 0;  // where its clipped triangles start in the group's list
};

struct TriangleRange {
  int64_t first, count;
};

// ---- Drawing one triangle into one tile -----------------------------------------------------------------

struct alignas(64) TileBuffers {
  int32_t triangle[tile_blocks * block_lanes];
  float depth[tile_blocks * block_lanes];
};

struct Corners {
  SnappedVertex a, b, c;
};

// An edge within one tile, in whole steps from the tile's first pixel. int32 suffices: an edge whose sign
// changes in the tile is never further from zero there than its steps across the tile add up to, and any
// other edge needs no test.
struct TileEdge {
  int32_t value, step_x, step_y;

  int32_t at(int32_t column, int32_t row) const { return value + step_x * column + step_y * row; }

  // How the value differs between the lanes of a block.
  IntLanes ramp() const { return broadcast(step_x) * load(lane_column) + broadcast(step_y) * load(lane_row); }
};

// The visibility depth of a block's lanes, in the order of operations that the rule fixes.
struct DepthLanes {
  explicit DepthLanes(const DepthPlane& p)
      : at_anchor(broadcast(p.at_anchor)), dx(broadcast(p.dx)), dy(broadcast(p.dy)), low(broadcast(p.low)),
        high(broadcast(p.high)), anchor_x(p.anchor_x), anchor_y(p.anchor_y) {}

  FloatLanes at(int32_t column, int32_t row) const {
    const FloatLanes x = broadcast(static_cast<float>(column - anchor_x)) + load(lane_x);
    const FloatLanes y = broadcast(static_cast<float>(row - anchor_y)) + load(lane_y);
    return maximum(low, minimum(high, (at_anchor + dy * y) + dx * x));
  }

  FloatLanes at_anchor, dx, dy, low, high;
  int32_t anchor_x, anchor_y;
};

// A triangle ready to be drawn into a tile; pixel coordinates count from the tile's first pixel.
struct PreparedTriangle {
  TileEdge edge[3];
  PixelBox box;  // clamped to the tile
  DepthPlane depth;
  int32_t triangle;
};

// Triangles up to this size can be set up in 32 bits wherever they touch a tile. In sub-pixels: 32 pixels.
constexpr int32_t small_extent = 1 << 13;

bool is_small(const Corners& t) {
  return max3(t.a.x, t.b.x, t.c.x) - min3(t.a.x, t.b.x, t.c.x) <= small_extent &&
         max3(t.a.y, t.b.y, t.c.y) - min3(t.a.y, t.b.y, t.c.y) <= small_extent;
}

// Sixteen small triangles, set up side by side: plain loops over the lanes, which compilers vectorise.
// The formulas are those of coverage.h in tile coordinates.
struct alignas(64) SmallTriangles {
  static constexpr int capacity = 16;

  int count = 0;
  int32_t triangle[capacity];
  int32_t ax[capacity], ay[capacity], bx[capacity], by[capacity], cx[capacity], cy[capacity];
  float az[capacity], bz[capacity], cz[capacity];
  int32_t value[3][capacity], step_x[3][capacity], step_y[3][capacity];
  int32_t x0[capacity], y0[capacity], x1[capacity], y1[capacity], anchor_x[capacity], anchor_y[capacity];
  float at_anchor[capacity], dx[capacity], dy[capacity], low[capacity], high[capacity];

  void add(const Corners& t, const Tile& tile, int32_t bits, int32_t number) {
    const int32_t left = tile.x << bits, top = tile.y << bits;
    ax[count] = t.a.x - left, ay[count] = t.a.y - top, az[count] = t.a.z;
    bx[count] = t.b.x - left, by[count] = t.b.y - top, bz[count] = t.b.z;
    cx[count] = t.c.x - left, cy[count] = t.c.y - top, cz[count] = t.c.z;
    triangle[count++] = number;
  }

  void prepare(const Tile& tile, int32_t bits) {
    // Unused lanes repeat the first triangle: nothing is ever divided by garbage.
    for (int l = count; l < capacity; ++l) {
      ax[l] = ax[0], ay[l] = ay[0], bx[l] = bx[0], by[l] = by[0], cx[l] = cx[0], cy[l] = cy[0];
      az[l] = az[0], bz[l] = bz[0], cz[l] = cz[0];
    }
    int32_t area[capacity];
    orient(area);
    prepare_edge(0, bits, ax, ay, bx, by);
    prepare_edge(1, bits, bx, by, cx, cy);
    prepare_edge(2, bits, cx, cy, ax, ay);
    prepare_box(tile, bits);
    prepare_depth(bits, area);
  }

  PreparedTriangle operator[](int l) const {
    PreparedTriangle t;
    for (int k = 0; k < 3; ++k) t.edge[k] = {value[k][l], step_x[k][l], step_y[k][l]};
    t.box = {x0[l], y0[l], x1[l], y1[l]};
    t.depth = {at_anchor[l], dx[l], dy[l], low[l], high[l], anchor_x[l], anchor_y[l]};
    t.triangle = triangle[l];
    return t;
  }

 private:
  void orient(int32_t* area) {
    for (int l = 0; l < capacity; ++l) {
      const int32_t twice = (bx[l] - ax[l]) * (cy[l] - ay[l]) - (cx[l] - ax[l]) * (by[l] - ay[l]);
      const bool flip = twice < 0;
      const int32_t old_bx = bx[l], old_by = by[l];
      const float old_bz = bz[l];
      bx[l] = flip ? cx[l] : old_bx, by[l] = flip ? cy[l] : old_by, bz[l] = flip ? cz[l] : old_bz;
      cx[l] = flip ? old_bx : cx[l], cy[l] = flip ? old_by : cy[l], cz[l] = flip ? old_bz : cz[l];
      area[l] = flip ? -twice : twice;
    }
  }

  void prepare_edge(int k, int32_t bits, const int32_t* px, const int32_t* py, const int32_t* qx, const int32_t* qy) {
    const int32_t half = 1 << (bits - 1);
    for (int l = 0; l < capacity; ++l) {
      const int32_t ex = qx[l] - px[l], ey = qy[l] - py[l];
      const int32_t top_left = (ey < 0) | ((ey == 0) & (ex > 0));
      value[k][l] = (ex * (half - py[l]) - ey * (half - px[l]) - (1 - top_left)) >> bits;
      step_x[k][l] = -ey;
      step_y[k][l] = ex;
    }
  }

  void prepare_box(const Tile& tile, int32_t bits) {
    const int32_t half = 1 << (bits - 1), up = (1 << bits) - 1 - half, last_x = tile.width - 1, last_y = tile.height - 1;
    for (int l = 0; l < capacity; ++l) {
      const int32_t left = (min3(ax[l], bx[l], cx[l]) + up) >> bits, right = (max3(ax[l], bx[l], cx[l]) - half) >> bits;
      const int32_t top = (min3(ay[l], by[l], cy[l]) + up) >> bits, low_y = (max3(ay[l], by[l], cy[l]) - half) >> bits;
      anchor_x[l] = left < -tile.x ? -tile.x : left;
      anchor_y[l] = top < -tile.y ? -tile.y : top;
      x0[l] = left < 0 ? 0 : left;
      y0[l] = top < 0 ? 0 : top;
      x1[l] = right > last_x ? last_x : right;
      y1[l] = low_y > last_y ? last_y : low_y;
    }
  }

  void prepare_depth(int32_t bits, const int32_t* area) {
    const double size = static_cast<double>(1 << bits), half = size / 2;
    for (int l = 0; l < capacity; ++l) {
      const double z0 = az[l], dz1 = static_cast<double>(bz[l]) - z0, dz2 = static_cast<double>(cz[l]) - z0;
      const double zx = (dz1 * (cy[l] - ay[l]) - dz2 * (by[l] - ay[l])) / static_cast<double>(area[l]) * size;
      const double zy = (dz2 * (bx[l] - ax[l]) - dz1 * (cx[l] - ax[l])) / static_cast<double>(area[l]) * size;
      at_anchor[l] = static_cast<float>(z0 + zx * ((anchor_x[l] * size + half - ax[l]) / size) +
                                        zy * ((anchor_y[l] * size + half - ay[l]) / size));
      dx[l] = static_cast<float>(zx);
      dy[l] = static_cast<float>(zy);
      low[l] = min3(az[l], bz[l], cz[l]);
      high[l] = max3(az[l], bz[l], cz[l]);
    }
  }
};

// Sixteen triangles on their way to the bins, judged side by side. Most triangles of a fine mesh hold no pixel
// centre, and are dropped here.
struct alignas(64) CandidateTriangles {
  static constexpr int capacity = 16;
  enum Verdict : int32_t { drop, keep, look_closer };

  int count;
  int32_t ax[capacity], ay[capacity], bx[capacity], by[capacity], cx[capacity], cy[capacity];
  uint32_t flags[capacity];  // of the three vertices together
  int32_t x0[capacity], y0[capacity], x1[capacity], y1[capacity];
  int32_t verdict[capacity];

  void set(int l, const SnappedVertex& a, const SnappedVertex& b, const SnappedVertex& c) {
    ax[l] = a.x, ay[l] = a.y, bx[l] = b.x, by[l] = b.y, cx[l] = c.x, cy[l] = c.y;
    flags[l] = a.flags | b.flags | c.flags;
  }

  // keep: a small triangle that may cover pixels of its box; for a box of one pixel, one that does.
  // look_closer: clipping or wider arithmetic is needed.
  void judge(const Viewport& view) {
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
      const bool small = (right - left <= small_extent) & (bottom - top <= small_extent) & (bits <= 8);
      const bool hidden = (x0[l] > x1[l]) | (y0[l] > y1[l]);
      const int32_t ok = (small & (flags[l] == 0)) ? keep : look_closer;
      verdict[l] = hidden & (flags[l] == 0) ? drop : ok;
    }
    for (int l = 0; l < capacity; ++l) {
      const int32_t area = cross(bx[l] - ax[l], cy[l] - ay[l], cx[l] - ax[l], by[l] - ay[l]);
      const bool single = (x0[l] == x1[l]) & (y0[l] == y1[l]);
      const int32_t px = (x0[l] << bits) + half, py = (y0[l] << bits) + half;
      const bool covers = inside(ax[l], ay[l], bx[l], by[l], px, py, area) &
                          inside(bx[l], by[l], cx[l], cy[l], px, py, area) &
                          inside(cx[l], cy[l], ax[l], ay[l], px, py, area);
      const bool misses = (area == 0) | (single & !covers);
      verdict[l] = (verdict[l] == keep) & misses ? drop : verdict[l];
    }
  }

 private:
  // a b - c d where it fits 32 bits, as for small triangles; wraps around for others, which do not use it.
  static int32_t cross(int32_t a, int32_t b, int32_t c, int32_t d) {
    const auto u = [](int32_t value) { return static_cast<uint32_t>(value); };
    return static_cast<int32_t>(u(a) * u(b) - u(c) * u(d));
  }

  // Whether the pixel centre (px, py) is inside the edge from a to b of a triangle whose double area has the
  // sign of `area`: seen from the other side, the edge runs from b to a.
  static bool inside(int32_t a_x, int32_t a_y, int32_t b_x, int32_t b_y, int32_t px, int32_t py, int32_t area) {
    const int32_t ex = area < 0 ? a_x - b_x : b_x - a_x, ey = area < 0 ? a_y - b_y : b_y - a_y;
    const bool top_left = (ey < 0) | ((ey == 0) & (ex > 0));
    const int32_t e = cross(ex, py - a_y, ey, px - a_x);
    return (e > 0) | ((e == 0) & top_left);
  }
};

// Sets up a triangle of any size. False where the tile is outside one of its edges.
bool prepare_large(const Corners& corners, const Tile& tile, const Viewport& viewport, PreparedTriangle* out) {
  int64_t area = double_area(corners.a, corners.b, corners.c);
  const bool flip = area < 0;
  const SnappedVertex &a = corners.a, &b = flip ? corners.c : corners.b, &c = flip ? corners.b : corners.c;
  const int32_t bits = viewport.subpixel_bits;
  const Edge edge[3] = {make_edge(a, b, tile.x, tile.y, bits), make_edge(b, c, tile.x, tile.y, bits),
                        make_edge(c, a, tile.x, tile.y, bits)};
  for (int k = 0; k < 3; ++k) {
    const int64_t across_x = static_cast<int64_t>(edge[k].step_x) * (tile_size - 1);
    const int64_t across_y = static_cast<int64_t>(edge[k].step_y) * (tile_size - 1);
    if (edge[k].value + std::max<int64_t>(0, across_x) + std::max<int64_t>(0, across_y) < 0) return false;
    const bool all_inside = edge[k].value + std::min<int64_t>(0, across_x) + std::min<int64_t>(0, across_y) >= 0;
    out->edge[k] = all_inside ? TileEdge{0, 0, 0}
                              : TileEdge{static_cast<int32_t>(edge[k].value), edge[k].step_x, edge[k].step_y};
  }
  const PixelBox box = pixel_box(a, b, c, viewport);
  out->depth = make_depth_plane(a, b, c, flip ? -area : area, box, bits);
  out->depth.anchor_x -= tile.x;
  out->depth.anchor_y -= tile.y;
  out->box = {std::max(0, box.x0 - tile.x), std::max(0, box.y0 - tile.y), std::min(tile.width - 1, box.x1 - tile.x),
              std::min(tile.height - 1, box.y1 - tile.y)};
  return true;
}

// Draws triangles into a tile. Peeling: only what lies strictly behind the layer in front.
template <bool Peeling>
class Drawing {
 public:
  Drawing(const Viewport& viewport, bool drop_coincident, const Tile& tile, TileBuffers& buffers,
          const TileBuffers* layer)
      : viewport_(viewport), drop_coincident_(drop_coincident), tile_(tile), buffers_(buffers), layer_(layer) {}

  void draw(SmallTriangles& batch) const {
    if (batch.count == 0) return;
    batch.prepare(tile_, viewport_.subpixel_bits);
    for (int l = 0; l < batch.count; ++l) draw(batch[l]);
    batch.count = 0;
  }

  void draw(const Corners& corners, int32_t triangle) const {
    PreparedTriangle prepared;
    prepared.triangle = triangle;
    if (prepare_large(corners, tile_, viewport_, &prepared)) draw(prepared);
  }

 private:
  LG_HD void draw(const PreparedTriangle& t) const {
    const TileEdge &e0 = t.edge[0], &e1 = t.edge[1], &e2 = t.edge[2];
    const IntLanes ramp0 = e0.ramp(), ramp1 = e1.ramp(), ramp2 = e2.ramp();
    const DepthLanes depth(t.depth);
    for (int32_t y = t.box.y0 / block_size; y <= t.box.y1 / block_size; ++y) {
      for (int32_t x = t.box.x0 / block_size; x <= t.box.x1 / block_size; ++x) {
        const int32_t column = x * block_size, row = y * block_size;
        const LaneMask inside = non_negative((broadcast(e0.at(column, row)) + ramp0) |
                                             (broadcast(e1.at(column, row)) + ramp1) |
                                             (broadcast(e2.at(column, row)) + ramp2));
        if (!any(inside)) continue;
        const FloatLanes z = depth.at(column, row);
        const int64_t place = (y * blocks_per_row + x) * block_lanes;
        const FloatLanes old_z = load(buffers_.depth + place);
        LaneMask take = inside & less_equal(z, old_z);
        if (Peeling) take = take & behind(z, t.triangle, place);
        store(buffers_.depth + place, select(take, z, old_z));
        store(buffers_.triangle + place, select(take, broadcast(t.triangle), load(buffers_.triangle + place)));
      }
    }
  }

  // The lanes where (z, triangle) comes strictly after the layer in front.
  LaneMask behind(const FloatLanes& z, int32_t triangle, int64_t place) const {
    const FloatLanes front = load(layer_->depth + place);
    const LaneMask deeper = less(front, z);
    if (drop_coincident_) return deeper;
    return deeper | (less_equal(front, z) & less(broadcast(triangle), load(layer_->triangle + place)));
  }

  const Viewport& viewport_;
  const bool drop_coincident_;
  const Tile& tile_;
  TileBuffers& buffers_;
  const TileBuffers* layer_;
};

// ---- The passes over a whole image ----------------------------------------------------------------------

class VisibilityPass {
 public:
  VisibilityPass(const VisibilityRequest& request, TileSink& sink)
      : r_(request),
        sink_(sink),
        viewport_(make_viewport(request.width, request.height, request.subpixel_bits)),
        tiles_x_(divide_up(request.width, tile_size)),
        tiles_y_(divide_up(request.height, tile_size)),
        tiles_(tiles_x_ * tiles_y_) {}

  void run() {
    check_ranges();
    if (r_.views == 0 || tiles_ == 0) return;
    if (r_.ranges) snap_vertices(0, 1);
    const int64_t work = std::max<int64_t>({1, r_.triangles, r_.height * r_.width / 4});
    const int64_t group = std::min(r_.views, std::max<int64_t>(1, group_work / work));
    for (int64_t first = 0; first < r_.views; first += group) {
      run_group(first, std::min(group, r_.views - first));
    }
  }

 private:
  void check_ranges() const {
    for (int64_t view = 0; r_.ranges && view < r_.views; ++view) {
      const TriangleRange range = triangles_of(view);
      if (range.first < 0 || range.count < 0 || range.first > r_.triangles - range.count) {
        throw InvalidArgument("ranges[%lld] is (%lld, %lld), but tri has %lld triangles",
                              static_cast<long long>(view), static_cast<long long>(range.first),
                              static_cast<long long>(range.count), static_cast<long long>(r_.triangles));
      }
    }
  }

  void run_group(int64_t first_view, int64_t views) {
    first_view_ = first_view;
    views_ = views;
    if (!r_.ranges) snap_vertices(first_view, views);
    make_chunks();
    parallel_for(r_.threads, static_cast<int64_t>(chunks_.size()), [&](int64_t c, int) { bin(c); });
    place_bins();
    parallel_for(r_.threads, static_cast<int64_t>(chunks_.size()), [&](int64_t c, int) { fill_bins(c); });
    parallel_for(r_.threads, views * tiles_, [&](int64_t t, int worker) { rasterize_tile(t, worker); });
  }

  TriangleRange triangles_of(int64_t view) const {
    if (!r_.ranges) return {0, r_.triangles};
    return {r_.ranges[2 * view], r_.ranges[2 * view + 1]};
  }

  // ---- Vertices ---------------------------------------------------------------------------------------

  void snap_vertices(int64_t first_view, int64_t views) {
    const int64_t count = views * r_.vertices;
    if (static_cast<int64_t>(snapped_.size()) < count) snapped_ = Buffer<SnappedVertex>(count);
    const int64_t tasks = divide_up(count, vertices_per_task);
    parallel_for(r_.threads, tasks, [&](int64_t task, int) {
      const int64_t begin = task * vertices_per_task, end = std::min(count, begin + vertices_per_task);
      for (int64_t v = begin; v < end; ++v) {
        const ClipVertex p = position(first_view * r_.vertices + v);
        const uint32_t flags = clip_flags(p, viewport_);
        if (LG_UNLIKELY(flags || !(p.w > 0))) {
          // w == 0 only at the degenerate point (0, 0, 0, 0), which no polygon may contain.
          snapped_[v] = {0, 0, 0.0f, flags ? flags : not_a_point};
        } else {
          snapped_[v] = snap(p, viewport_);
        }
      }
    });
  }

  ClipVertex position(int64_t v) const {
    if (r_.dtype == 0) {
      const float* p = static_cast<const float*>(r_.pos) + 4 * v;
      return {p[0], p[1], p[2], p[3]};
    }
    const double* p = static_cast<const double*>(r_.pos) + 4 * v;
    return {p[0], p[1], p[2], p[3]};
  }

  const SnappedVertex* snapped_of(int64_t view_in_group) const {
    return snapped_.data() + (r_.ranges ? 0 : view_in_group * r_.vertices);
  }

  // ---- Binning ----------------------------------------------------------------------------------------

  void make_chunks() {
    chunks_.clear();
    for (int64_t view = 0; view < views_; ++view) {
      const TriangleRange range = triangles_of(first_view_ + view);
      const int64_t size = std::max(min_triangles_per_chunk, divide_up(range.count, max_chunks_per_view));
      for (int64_t first = 0; first < range.count; first += size) {
        Chunk chunk;
        chunk.view = view;
        chunk.first = range.first + first;
        chunk.count = std::min(size, range.count - first);
        chunks_.push_back(std::move(chunk));
      }
    }
    counts_ = Buffer<uint32_t>(chunks_.size() * tiles_);
  }

  void check_indices(int64_t t, const int32_t* index) const {
    for (int k = 0; k < 3; ++k) {
      if (static_cast<uint64_t>(static_cast<int64_t>(index[k])) >= static_cast<uint64_t>(r_.vertices)) {
        throw InvalidArgument("tri[%lld, %d] is %d, but pos has %lld vertices", static_cast<long long>(t), k,
                              static_cast<int>(index[k]), static_cast<long long>(r_.vertices));
      }
    }
  }

  void bin(int64_t c) {
    Chunk& chunk = chunks_[c];
    uint32_t* counts = counts_.data() + c * tiles_;
    std::memset(counts, 0, sizeof(uint32_t) * tiles_);
    chunk.binned.reserve(chunk.count);
    for (int64_t first = chunk.first; first < chunk.first + chunk.count; first += CandidateTriangles::capacity) {
      CandidateTriangles batch;
      batch.count = static_cast<int>(std::min<int64_t>(CandidateTriangles::capacity, chunk.first + chunk.count - first));
      load_candidates(chunk, first, batch);
      batch.judge(viewport_);
      for (int l = 0; l < batch.count; ++l) {
        const int64_t t = first + l;
        if (LG_LIKELY(batch.verdict[l] == CandidateTriangles::drop)) continue;
        if (LG_LIKELY(batch.verdict[l] == CandidateTriangles::keep)) {
          push_binned(chunk, counts, {batch.x0[l], batch.y0[l], batch.x1[l], batch.y1[l]}, static_cast<int32_t>(t));
        } else if (batch.flags[l]) {
          bin_flagged(chunk, counts, t);
        } else {
          const SnappedVertex* vertices = snapped_of(chunk.view);
          const int32_t* index = r_.tri + 3 * t;
          bin_one(chunk, counts, vertices[index[0]], vertices[index[1]], vertices[index[2]], static_cast<int32_t>(t));
        }
      }
    }
  }

  void load_candidates(const Chunk& chunk, int64_t first, CandidateTriangles& batch) const {
    const SnappedVertex* vertices = snapped_of(chunk.view);
    const int64_t last = chunk.first + chunk.count - 1;
    const uint32_t limit = static_cast<uint32_t>(std::min<int64_t>(r_.vertices, INT32_MAX));
    for (int l = 0; l < batch.count; ++l) {
      const int32_t* index = r_.tri + 3 * (first + l);
      const int32_t* later = r_.tri + 3 * std::min(last, first + l + prefetch_distance);
      for (int k = 0; k < 3; ++k) LG_PREFETCH(vertices + later[k]);
      if (LG_UNLIKELY(static_cast<uint32_t>(index[0]) >= limit || static_cast<uint32_t>(index[1]) >= limit ||
                      static_cast<uint32_t>(index[2]) >= limit)) {
        check_indices(first + l, index);
      }
      batch.set(l, vertices[index[0]], vertices[index[1]], vertices[index[2]]);
    }
    for (int l = batch.count; l < CandidateTriangles::capacity; ++l) batch.set(l, {}, {}, {});
  }

  LG_NOINLINE void bin_flagged(Chunk& chunk, uint32_t* counts, int64_t t) {
    const SnappedVertex* vertices = snapped_of(chunk.view);
    const int32_t* index = r_.tri + 3 * t;
    const uint32_t a = vertices[index[0]].flags, b = vertices[index[1]].flags, c = vertices[index[2]].flags;
    const bool outside_one_plane = (a & b & c & all_planes) != 0, unusable = ((a | b | c) & not_a_point) != 0;
    if (!outside_one_plane && !unusable) bin_clipped(chunk, counts, t);
  }

  // Returns whether the triangle has any pixel to test.
  bool bin_one(Chunk& chunk, uint32_t* counts, const SnappedVertex& a, const SnappedVertex& b,
               const SnappedVertex& c, int32_t source) {
    const PixelBox box = pixel_box(a, b, c, viewport_);
    if (box.empty() || double_area(a, b, c) == 0) return false;
    push_binned(chunk, counts, box, source);
    return true;
  }

  void push_binned(Chunk& chunk, uint32_t* counts, const PixelBox& box, int32_t source) const {
    BinnedTriangle binned;
    binned.source = source;
    binned.tile_x0 = static_cast<uint16_t>(box.x0 / tile_size);
    binned.tile_x1 = static_cast<uint16_t>(box.x1 / tile_size);
    binned.tile_y0 = static_cast<uint16_t>(box.y0 / tile_size);
    binned.tile_y1 = static_cast<uint16_t>(box.y1 / tile_size);
    chunk.binned.push_back(binned);
    for (int64_t ty = binned.tile_y0; ty <= binned.tile_y1; ++ty) {
      for (int64_t tx = binned.tile_x0; tx <= binned.tile_x1; ++tx) ++counts[ty * tiles_x_ + tx];
    }
  }

  LG_NOINLINE void bin_clipped(Chunk& chunk, uint32_t* counts, int64_t t) {
    const int64_t base = r_.ranges ? 0 : (first_view_ + chunk.view) * r_.vertices;
    Polygon polygon;
    polygon.count = 3;
    for (int k = 0; k < 3; ++k) polygon.vertex[k] = position(base + r_.tri[3 * t + k]);
    clip_triangle(polygon, viewport_);
    for (int i = 2; i < polygon.count; ++i) {
      ClippedTriangle piece;
      piece.vertex[0] = snap_clipped(polygon.vertex[0], viewport_);
      piece.vertex[1] = snap_clipped(polygon.vertex[i - 1], viewport_);
      piece.vertex[2] = snap_clipped(polygon.vertex[i], viewport_);
      piece.triangle = static_cast<int32_t>(t);
      const auto local = static_cast<int32_t>(chunk.clipped.size());
      if (bin_one(chunk, counts, piece.vertex[0], piece.vertex[1], piece.vertex[2], ~local)) {
        chunk.clipped.push_back(piece);
      }
    }
  }

  // Turns the chunks' counts into places: tile by tile, and within a tile chunk by chunk.
  void place_bins() {
    tile_first_ = Buffer<int64_t>(views_ * tiles_ + 1);
    chunk_first_ = Buffer<int64_t>(chunks_.size() * tiles_);
    int64_t place = 0, clipped = 0;
    size_t c = 0;
    for (int64_t view = 0; view < views_; ++view) {
      size_t end = c;
      while (end < chunks_.size() && chunks_[end].view == view) ++end;
      for (int64_t tile = 0; tile < tiles_; ++tile) {
        tile_first_[view * tiles_ + tile] = place;
        for (size_t k = c; k < end; ++k) {
          chunk_first_[k * tiles_ + tile] = place;
          place += counts_[k * tiles_ + tile];
        }
      }
      c = end;
    }
    tile_first_[views_ * tiles_] = place;
    for (Chunk& chunk : chunks_) {
      chunk.clipped_base = clipped;
      clipped += static_cast<int64_t>(chunk.clipped.size());
    }
    if (static_cast<int64_t>(bins_.size()) < place) bins_ = Buffer<int32_t>(place);
    clipped_.clear();
    clipped_.reserve(clipped);
    for (const Chunk& chunk : chunks_) {
      for (size_t i = 0; i < chunk.clipped.size(); ++i) clipped_.push_back(chunk.clipped[i]);
    }
  }

  void fill_bins(int64_t c) {
    const Chunk& chunk = chunks_[c];
    int64_t* place = chunk_first_.data() + c * tiles_;
    for (size_t i = 0; i < chunk.binned.size(); ++i) {
      const BinnedTriangle& b = chunk.binned[i];
      const int32_t entry =
          b.source >= 0 ? b.source : static_cast<int32_t>(~(~b.source + chunk.clipped_base));
      for (int64_t ty = b.tile_y0; ty <= b.tile_y1; ++ty) {
        for (int64_t tx = b.tile_x0; tx <= b.tile_x1; ++tx) bins_[place[ty * tiles_x_ + tx]++] = entry;
      }
    }
  }

  // ---- Tiles ------------------------------------------------------------------------------------------

  void rasterize_tile(int64_t task, int worker) {
    const int64_t view = task / tiles_, in_view = task % tiles_;
    Tile tile;
    tile.view = first_view_ + view;
    tile.x = static_cast<int32_t>(in_view % tiles_x_) * tile_size;
    tile.y = static_cast<int32_t>(in_view / tiles_x_) * tile_size;
    tile.width = std::min(tile_size, viewport_.width - tile.x);
    tile.height = std::min(tile_size, viewport_.height - tile.y);
    const int64_t begin = tile_first_[task], end = tile_first_[task + 1];
    tile.empty = begin == end;
    TileBuffers buffers;
    if (!tile.empty) {
      std::fill_n(buffers.triangle, tile_blocks * block_lanes, -1);
      std::fill_n(buffers.depth, tile_blocks * block_lanes, std::numeric_limits<float>::infinity());
      if (r_.after_tri) {
        TileBuffers layer;
        load_layer(tile, layer);
        draw_bin<true>(tile, view, begin, end, buffers, &layer);
      } else {
        draw_bin<false>(tile, view, begin, end, buffers, nullptr);
      }
    }
    tile.triangle = buffers.triangle;
    tile.depth = buffers.depth;
    sink_.consume(tile, worker);
  }

  void load_layer(const Tile& tile, TileBuffers& layer) const {
    for (int row = 0; row < tile.height; ++row) {
      const int64_t line = (tile.view * r_.height + tile.y + row) * r_.width + tile.x;
      for (int column = 0; column < tile.width; ++column) {
        const int place = ((row / block_size) * blocks_per_row + column / block_size) * block_lanes +
                          (row % block_size) * block_size + column % block_size;
        layer.triangle[place] = r_.after_tri[line + column];
        layer.depth[place] = r_.after_tri[line + column] < 0 ? std::numeric_limits<float>::infinity()
                                                             : r_.after_zbuffer[line + column];
      }
    }
  }

  template <bool Peeling>
  void draw_bin(const Tile& tile, int64_t view, int64_t begin, int64_t end, TileBuffers& buffers,
                const TileBuffers* layer) const {
    const Drawing<Peeling> drawing(viewport_, r_.drop_coincident, tile, buffers, layer);
    SmallTriangles batch;
    for (int64_t i = begin; i < end; ++i) {
      prefetch(i, end, view);
      Corners corners;
      const int32_t triangle = corners_of(bins_[i], view, &corners);
      if (LG_LIKELY(viewport_.subpixel_bits <= 8 && is_small(corners))) {
        batch.add(corners, tile, viewport_.subpixel_bits, triangle);
        if (batch.count < SmallTriangles::capacity) continue;
        drawing.draw(batch);
      } else {
        drawing.draw(batch);  // what came before goes first
        drawing.draw(corners, triangle);
      }
    }
    drawing.draw(batch);
  }

  // A bin's triangles are scattered over the mesh: ask for indices well ahead, and for vertices a little later.
  LG_HD void prefetch(int64_t i, int64_t end, int64_t view) const {
    if (i + 2 * prefetch_distance < end && bins_[i + 2 * prefetch_distance] >= 0) {
      LG_PREFETCH(r_.tri + 3 * static_cast<int64_t>(bins_[i + 2 * prefetch_distance]));
    }
    if (i + prefetch_distance < end && bins_[i + prefetch_distance] >= 0) {
      const int32_t* index = r_.tri + 3 * static_cast<int64_t>(bins_[i + prefetch_distance]);
      for (int k = 0; k < 3; ++k) LG_PREFETCH(snapped_of(view) + index[k]);
    }
  }

  // Fetches the corners of a bin's entry and returns the number of its triangle.
  int32_t corners_of(int32_t entry, int64_t view, Corners* corners) const {
    if (LG_LIKELY(entry >= 0)) {
      const SnappedVertex* vertices = snapped_of(view);
      const int32_t* index = r_.tri + 3 * static_cast<int64_t>(entry);
      *corners = {vertices[index[0]], vertices[index[1]], vertices[index[2]]};
      return entry;
    }
    const ClippedTriangle& piece = clipped_[~entry];
    *corners = {piece.vertex[0], piece.vertex[1], piece.vertex[2]};
    return piece.triangle;
  }

  const VisibilityRequest& r_;
  TileSink& sink_;
  const Viewport viewport_;
  const int64_t tiles_x_, tiles_y_, tiles_;
  int64_t first_view_ = 0, views_ = 0;
  Buffer<SnappedVertex> snapped_;
  std::vector<Chunk> chunks_;
  Buffer<uint32_t> counts_;      // [chunks, tiles]
  Buffer<int64_t> chunk_first_;  // [chunks, tiles]: where the chunk's entries of the tile go
  Buffer<int64_t> tile_first_;   // [views * tiles + 1]
  Buffer<int32_t> bins_;         // triangles, or ~index into clipped_
  Array<ClippedTriangle> clipped_;
};

}  // namespace

void resolve_visibility(const VisibilityRequest& request, TileSink& sink) {
  VisibilityPass(request, sink).run();
}

}  // namespace lg
