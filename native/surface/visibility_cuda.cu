// Visibility on CUDA: an atomic minimum per pixel (visibility_cuda.h).
//
// Vertices are snapped once. Then there is one thread per triangle. Most triangles of a fine mesh contain no pixel
// centre and need nothing more; small ones are drawn by their thread; large ones are queued as a number of square jobs,
// which all warps of a second launch share. Neither a million tiny triangles nor a few that fill the image leave the
// device idle, and nothing waits for the host. A full queue is not an error: the warp that finds it full draws the
// triangle itself.
//
// Compiled without fused multiply-add: coverage and depth are those of the CPU, bit for bit.
#include "surface/visibility_cuda.h"

#include "parallel/for_each.h"

namespace lg::surface {

// A queued triangle. Its jobs follow those of the triangles before it.
struct LargeTriangle {
  int64_t first_job;
  int32_t jobs, triangle, view;
  int32_t piece;  // of a clipped triangle; -1: the whole triangle
};

namespace {

constexpr int job_size = 32;          // pixels, square
constexpr int32_t small_pixels = 64;  // boxes of up to this many pixels are drawn by one thread
#if defined(LG_CUDA_EMULATED)
constexpr int64_t most_queued = 48;  // so that tests fill the queue
#else
constexpr int64_t most_queued = 1 << 20;
#endif
constexpr int clipped_pieces = clip_planes + 1;
// The queue's counter: triangles in the high bits, jobs in the low bits. Both fit easily (see enqueue()).
constexpr int job_bits = 42;

struct Scene {
  VisibilityRequest r;
  Viewport viewport;
  const SnappedVertex* snapped;
  const int64_t* ranges;  // on the device, or null
  uint64_t* keys;
  int32_t stride;
  LargeTriangle* queue;
  uint64_t* queue_counter;
  int32_t* any_clipped;
  int64_t queue_capacity;

  LG_DEVICE const SnappedVertex* vertices(int64_t view) const { return snapped + r.mesh.first_row(view); }
};

// ---- One triangle ------------------------------------------------------------------------------------------

// Pixels that a thread draws at a time: it waits once for all of their keys.
constexpr int pixels_at_once = 4;

// A triangle ready to be drawn into a part of the image, at most job_size (or small_pixels) pixels wide and high.
struct Prepared {
  PartEdge edge[3];
  DepthPlane plane;
  int64_t first_pixel;  // of the part, among those of all views
  int32_t x0, y0, columns, rows, triangle;
  int32_t row_factor;  // see place_in_part()
};

// Edges first: false if the part is outside one of them.
LG_DEVICE bool prepare_edges(const Scene& s, int64_t view, const SnappedTriangle& t, const PixelBox& part,
                             int32_t triangle, Prepared& out) {
  out.first_pixel = s.r.image.pixel(view, part.y0, part.x0);
  out.x0 = part.x0;
  out.y0 = part.y0;
  out.columns = part.x1 - part.x0 + 1;
  out.rows = part.y1 - part.y0 + 1;
  out.triangle = triangle;
  out.row_factor = (65536 + out.columns - 1) / out.columns;
  return make_part_edges(t, part.x0, part.y0, out.columns, out.rows, s.viewport.subpixel_bits, out.edge);
}

struct PlaceInPart {
  int32_t column, row;
};

// The place of pixel i of a part, counted along its rows. No division is needed: row_factor = ceil(65536 / columns)
// gives the exact quotient if i (columns - 1) < 65536, and a part has at most 1024 pixels in at most 64 columns.
LG_DEVICE PlaceInPart place_in_part(const Prepared& p, int32_t i) {
  const int32_t row = i * p.row_factor >> 16;
  return {i - row * p.columns, row};
}

LG_DEVICE bool covers(const Prepared& p, const PlaceInPart& at) {
  int32_t outside = 0;  // its sign
#pragma unroll
  for (int k = 0; k < 3; ++k) outside |= p.edge[k].at(at.column, at.row);
  return outside >= 0;
}

LG_DEVICE float depth_at(const DepthPlane& p, int32_t column, int32_t row) {
  const float x = static_cast<float>(column - p.anchor_x), y = static_cast<float>(row - p.anchor_y);
  const float z = (p.at_anchor + p.dy * y) + p.dx * x, below_high = p.high < z ? p.high : z;
  return p.low > below_high ? p.low : below_high;
}

// Whether a pixel's fragment is behind the layer in front, if there is one.
LG_DEVICE bool is_next_layer(const Scene& s, int64_t pixel, float depth, int32_t triangle) {
  if (!s.r.after_tri) return true;
  const int32_t front_triangle = s.r.after_tri[pixel];
  if (front_triangle < 0) return false;
  const float front = s.r.after_zbuffer[pixel];
  return front < depth || (!s.r.drop_coincident && front <= depth && triangle < front_triangle);
}

// A triangle's key at a pixel and its destination, as an offset from the part's first pixel. nothing_seen: none.
struct Fragment {
  int32_t offset;
  uint64_t mine;
};
LG_DEVICE Fragment no_fragment() { return {0, nothing_seen}; }

LG_DEVICE Fragment fragment_at(const Scene& s, const Prepared& p, const PlaceInPart& at) {
  const int32_t pixel = at.row * s.viewport.width + at.column;
  const float depth = depth_at(p.plane, p.x0 + at.column, p.y0 + at.row);
  if (!is_next_layer(s, p.first_pixel + pixel, depth, p.triangle)) return no_fragment();
  return {pixel * s.stride, visibility_key(depth, p.triangle)};
}

// Gives the pixels to the triangle unless a nearer one has them. All loads come before the first atomic, so that they
// overlap.
LG_DEVICE void draw(const Scene& s, const Prepared& p, const Fragment (&fragment)[pixels_at_once]) {
  uint64_t* const keys = s.keys + p.first_pixel * s.stride;
  uint64_t nearest[pixels_at_once];
#pragma unroll
  for (int k = 0; k < pixels_at_once; ++k) {
    nearest[k] = fragment[k].mine == nothing_seen ? 0 : load_fresh(keys + fragment[k].offset);
  }
#pragma unroll
  for (int k = 0; k < pixels_at_once; ++k) {
    if (fragment[k].mine < nearest[k]) atomic_min(keys + fragment[k].offset, fragment[k].mine);
  }
}

LG_DEVICE void draw_small(const Scene& s, int64_t view, const SnappedTriangle& t, const PixelBox& box,
                          int32_t triangle) {
  Prepared p;
  if (!prepare_edges(s, view, t, box, triangle, p)) return;
  uint64_t covered = 0;  // pixel by pixel along the rows of the box
  int32_t bit = 0;
  for (int32_t row = 0; row < p.rows; ++row) {
    for (int32_t column = 0; column < p.columns; ++column, ++bit) {
      covered |= static_cast<uint64_t>(covers(p, {column, row})) << bit;
    }
  }
  if (covered == 0) return;
  p.plane = depth_plane_of(t, box, s.viewport.subpixel_bits);
  while (covered != 0) {
    Fragment fragment[pixels_at_once];
#pragma unroll
    for (int k = 0; k < pixels_at_once; ++k) {
      fragment[k] = no_fragment();
      if (covered != 0) fragment[k] = fragment_at(s, p, place_in_part(p, lowest_bit(covered)));
      covered &= covered - 1;
    }
    draw(s, p, fragment);
  }
}

LG_DEVICE int32_t jobs_across(const PixelBox& box) { return (box.x1 - box.x0) / job_size + 1; }
LG_DEVICE int32_t jobs_of(const PixelBox& box) { return jobs_across(box) * ((box.y1 - box.y0) / job_size + 1); }

// One job of a triangle: a square part of its box. If there is nothing to draw, it has no rows.
LG_DEVICE void prepare_job(const Scene& s, int64_t view, const SnappedTriangle& t, const PixelBox& box, int32_t job,
                           int32_t triangle, Prepared& out) {
  const int32_t across = jobs_across(box);
  PixelBox part;
  part.x0 = box.x0 + job % across * job_size;
  part.y0 = box.y0 + job / across * job_size;
  part.x1 = part.x0 + job_size - 1 < box.x1 ? part.x0 + job_size - 1 : box.x1;
  part.y1 = part.y0 + job_size - 1 < box.y1 ? part.y0 + job_size - 1 : box.y1;
  if (!prepare_edges(s, view, t, part, triangle, out)) {
    out.rows = 0;
    return;
  }
  out.plane = depth_plane_of(t, box, s.viewport.subpixel_bits);
}

// A warp draws a job, with its lanes side by side along the rows.
LG_DEVICE void draw_job(const Scene& s, const Prepared& p) {
  const int32_t pixels = p.columns * p.rows;
  constexpr auto lanes = static_cast<int32_t>(warp_size);
  for (auto i = static_cast<int32_t>(lane_id()); i < pixels; i += pixels_at_once * lanes) {
    Fragment fragment[pixels_at_once];
#pragma unroll
    for (int k = 0; k < pixels_at_once; ++k) {
      const PlaceInPart at = place_in_part(p, i + k * lanes);
      fragment[k] = no_fragment();
      if (at.row < p.rows && covers(p, at)) fragment[k] = fragment_at(s, p, at);
    }
    draw(s, p, fragment);
  }
}

// ---- All triangles -----------------------------------------------------------------------------------------

// Queues the triangles of the lanes with large.jobs > 0. Returns true in lanes whose triangle found no room. Called by
// all lanes of a warp, which together need only one addition.
LG_DEVICE bool enqueue(const Scene& s, LargeTriangle large) {
  const uint32_t lanes = warp_ballot(large.jobs > 0);
  if (lanes == 0) return false;
  const int64_t end = running_sum(int64_t{large.jobs});  // of this lane's jobs among those of the warp
  const auto all_jobs = static_cast<uint64_t>(warp_shuffle(end, 31));
  const auto leader = static_cast<unsigned>(lowest_bit(lanes));
  uint64_t start = static_cast<uint64_t>(s.queue_capacity) << job_bits;  // no room
  // Only warps that see room claim it, so the counter exceeds the capacity by no more than the lanes of the running
  // warps.
  if (lane_id() == leader && load_fresh(s.queue_counter) < start) {
    start = atomic_add(s.queue_counter, static_cast<uint64_t>(bit_count(lanes)) << job_bits | all_jobs);
  }
  start = warp_shuffle(start, leader);
  if (large.jobs == 0) return false;
  const int64_t place = static_cast<int64_t>(start >> job_bits) + bit_count(lanes & lanes_below());
  if (place >= s.queue_capacity) return true;
  large.first_job = static_cast<int64_t>(start & ((uint64_t{1} << job_bits) - 1)) + end - large.jobs;
  s.queue[place] = large;
  return false;
}

// A triangle's snapped corners, defined if no flag is set.
struct Fetched {
  SnappedTriangle corners;
  uint32_t any, all;  // of the clip flags
  bool valid;         // every index has a vertex
};

LG_DEVICE Fetched fetch(const Scene& s, int64_t view, int64_t t) {
  Fetched f;
  const int32_t* index = s.r.mesh.tri + 3 * t;
  const int32_t i0 = index[0], i1 = index[1], i2 = index[2];
  f.valid = i0 >= 0 && i1 >= 0 && i2 >= 0 && i0 < s.r.mesh.vertices && i1 < s.r.mesh.vertices && i2 < s.r.mesh.vertices;
  if (!f.valid) return f;
  const SnappedVertex* v = s.vertices(view);
  f.corners = {v[i0], v[i1], v[i2]};
  f.any = f.corners.a.flags | f.corners.b.flags | f.corners.c.flags;
  f.all = f.corners.a.flags & f.corners.b.flags & f.corners.c.flags;
  return f;
}

LG_DEVICE void clip(const Scene& s, int64_t view, int64_t t, Polygon& polygon) {
  const int64_t base = s.r.mesh.first_row(view);
  polygon.count = 3;
  for (int k = 0; k < 3; ++k) polygon.vertex[k] = s.r.positions[base + s.r.mesh.tri[3 * t + k]];
  clip_triangle(polygon, s.viewport);
}

// The corners of a triangle or of a piece of a clipped one. Clipping is rare and not worth registers elsewhere.
LG_DEVICE_NOINLINE SnappedTriangle clipped_corners(const Scene& s, int64_t view, int64_t t, int32_t piece) {
  Polygon polygon;
  clip(s, view, t, polygon);
  return piece_of(polygon, piece, s.viewport);
}
LG_DEVICE SnappedTriangle corners_of(const Scene& s, int64_t view, int64_t t, int32_t piece) {
  return piece < 0 ? fetch(s, view, t).corners : clipped_corners(s, view, t, piece);
}

// Draws a small triangle or piece, or returns the number of jobs of a large one.
LG_DEVICE int32_t draw_if_small(const Scene& s, int64_t view, const SnappedTriangle& corners, int64_t t) {
  const PixelBox box = corners.box(s.viewport);
  if (box.empty() || corners.area() == 0) return 0;
  if (static_cast<int64_t>(box.x1 - box.x0 + 1) * (box.y1 - box.y0 + 1) > small_pixels) return jobs_of(box);
  draw_small(s, view, corners, box, static_cast<int32_t>(t));
  return 0;
}

// The triangles that lanes could not queue, drawn one after another by the whole warp.
LG_DEVICE void draw_together(const Scene& s, int64_t view, uint32_t lanes, int64_t t, int32_t piece) {
  for (; lanes; lanes &= lanes - 1) {
    const int64_t theirs = warp_shuffle(t, static_cast<unsigned>(lowest_bit(lanes)));
    const SnappedTriangle corners = corners_of(s, view, theirs, piece);
    const PixelBox box = corners.box(s.viewport);
    for (int32_t job = 0; job < jobs_of(box); ++job) {
      Prepared p;
      prepare_job(s, view, corners, box, job, static_cast<int32_t>(theirs), p);
      draw_job(s, p);
    }
  }
}

// Queues the triangles of the lanes with large.jobs > 0, or lets the warp draw them. Called by all lanes of a warp.
LG_DEVICE void draw_later(const Scene& s, int64_t view, const LargeTriangle& large) {
  const uint32_t waiting = warp_ballot(enqueue(s, large));
  if (waiting) draw_together(s, view, waiting, large.triangle, large.piece);
}

// Calls body(view, t, exists) for all triangles of all views. All lanes of a warp call it equally often, so that they
// can draw together.
template <class Body>
LG_DEVICE void for_triangles(const Scene& s, int64_t most_triangles, Body&& body) {
  for (int64_t view = blockIdx.y; view < s.r.image.views; view += gridDim.y) {
    const int64_t first = s.ranges ? s.ranges[2 * view] : 0;
    const int64_t count = s.ranges ? s.ranges[2 * view + 1] : s.r.mesh.triangles;
    for (int64_t base = static_cast<int64_t>(blockIdx.x) * blockDim.x; base < most_triangles && base < count;
         base += item_step()) {
      const int64_t i = base + threadIdx.x;
      body(view, first + i, i < count);
    }
  }
}

constexpr int triangles_block = 128;

__global__ void __launch_bounds__(triangles_block, 5)
    draw_triangles(const __grid_constant__ Scene s, int64_t most_triangles) {
  for_triangles(s, most_triangles, [&](int64_t view, int64_t t, bool there) {
    LargeTriangle large = {0, 0, static_cast<int32_t>(t), static_cast<int32_t>(view), -1};
    if (there) {
      const Fetched f = fetch(s, view, t);
      if (f.valid && f.any == 0) {
        large.jobs = draw_if_small(s, view, f.corners, t);
      } else if (f.valid && needs_clipping(f.any, f.all)) {
        *s.any_clipped = 1;
      }
    }
    draw_later(s, view, large);
  });
}

// The triangles that straddle a clip plane. They are few, if any.
__global__ void __launch_bounds__(triangles_block)
    draw_clipped(const __grid_constant__ Scene s, int64_t most_triangles) {
  if (*s.any_clipped == 0) return;
  for_triangles(s, most_triangles, [&](int64_t view, int64_t t, bool there) {
    Polygon polygon;
    polygon.count = 0;
    if (there) {
      const Fetched f = fetch(s, view, t);
      if (f.valid && f.any != 0 && needs_clipping(f.any, f.all)) clip(s, view, t, polygon);
    }
    if (!warp_any(polygon.count > 0)) return;
    for (int32_t piece = 0; piece < clipped_pieces; ++piece) {
      LargeTriangle large = {0, 0, static_cast<int32_t>(t), static_cast<int32_t>(view), piece};
      if (piece + 2 < polygon.count) large.jobs = draw_if_small(s, view, piece_of(polygon, piece, s.viewport), t);
      draw_later(s, view, large);
    }
  });
}

// The queued triangle that a job belongs to: the last one whose jobs begin at or before it.
LG_DEVICE int64_t find_queued(const LargeTriangle* queue, int64_t count, int64_t job) {
  int64_t low = 0, high = count - 1;
  while (low < high) {
    const int64_t middle = (low + high + 1) / 2;
    if (queue[middle].first_job <= job) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  return low;
}

LG_DEVICE void prepare_queued(const Scene& s, int64_t count, int64_t job, Prepared& out) {
  const LargeTriangle large = s.queue[find_queued(s.queue, count, job)];
  const SnappedTriangle corners = corners_of(s, large.view, large.triangle, large.piece);
  const auto job_of_triangle = static_cast<int32_t>(job - large.first_job);
  prepare_job(s, large.view, corners, corners.box(s.viewport), job_of_triangle, large.triangle, out);
}

constexpr int queued_block = 256;

// Warps take several jobs at a time. Each lane prepares one of them, which takes many dependent loads; then all lanes
// draw one job after another.
__global__ void __launch_bounds__(queued_block, 4) draw_queued(const __grid_constant__ Scene s) {
  const uint64_t counter = *s.queue_counter;
  const auto claimed = static_cast<int64_t>(counter >> job_bits);
  const int64_t count = claimed < s.queue_capacity ? claimed : s.queue_capacity;
  if (count == 0) return;
  __shared__ Prepared prepared[queued_block];
  const unsigned lane = lane_id();
  Prepared* const of_warp = prepared + (threadIdx.x - lane);
  const int64_t jobs = s.queue[count - 1].first_job + s.queue[count - 1].jobs;
  const int64_t warps = item_step() / warp_size, share = (jobs + warps - 1) / warps;
  const int64_t taken = share < warp_size ? share : warp_size;  // at a time: if there are few jobs, no warp is idle
  for (int64_t first = first_item() / warp_size * taken; first < jobs; first += warps * taken) {
    const int64_t here = jobs - first < taken ? jobs - first : taken;
    if (lane < here) prepare_queued(s, count, first + lane, of_warp[lane]);
    warp_barrier();
    for (int64_t i = 0; i < here; ++i) draw_job(s, of_warp[i]);
    warp_barrier();
  }
}

}  // namespace

VisibilityPass::VisibilityPass(const VisibilityRequest& request)
    : r_(request), most_triangles_(request.mesh.triangles) {
  int64_t drawn = r_.image.views * r_.mesh.triangles;
  if (r_.ranges) {
    most_triangles_ = drawn = 0;
    for (int64_t view = 0; view < r_.image.views; ++view) {
      most_triangles_ = std::max(most_triangles_, r_.ranges[2 * view + 1]);
      drawn += r_.ranges[2 * view + 1];
    }
  }
  queue_capacity_ = std::min(most_queued, clipped_pieces * drawn);
}

void VisibilityPass::plan(Workspace& workspace) {
  snapped_ = workspace.take<SnappedVertex>(geometry_views() * r_.mesh.vertices);
  queue_ = workspace.take<LargeTriangle>(queue_capacity_);
  queue_counter_ = workspace.take<uint64_t>(2);  // the second one: whether anything is clipped
  if (r_.ranges) ranges_ = workspace.take<uint32_t>(4 * r_.image.views);
}

void VisibilityPass::run(Queue& queue, uint64_t* keys, int32_t stride) {
  const int64_t pixels = r_.image.pixels();
  queue.fill_bytes(keys, 0xff, pixels * stride * 8);
  if (pixels == 0 || most_triangles_ == 0) return;
  queue.fill_bytes(queue_counter_, 0, 2 * sizeof *queue_counter_);
  if (r_.ranges) queue.upload(r_.ranges, 4 * r_.image.views, ranges_);
  const Scene scene = {
      r_,     r_.viewport(), snapped_,       reinterpret_cast<const int64_t*>(ranges_),      keys,
      stride, queue_,        queue_counter_, reinterpret_cast<int32_t*>(queue_counter_ + 1), queue_capacity_};
  for_each(queue, geometry_views() * r_.mesh.vertices, SnapVertices{r_.positions, 0, scene.viewport, snapped_});
  const dim3 grid(static_cast<unsigned>(std::min(divide_up(most_triangles_, triangles_block), max_grid_x)),
                  static_cast<unsigned>(std::min(r_.image.views, max_grid_yz)));
  queue.launch(draw_triangles, grid, dim3(triangles_block), scene, most_triangles_);
  queue.launch(draw_clipped, grid, dim3(triangles_block), scene, most_triangles_);
  queue.launch(draw_queued, dim3(static_cast<unsigned>(8 * multiprocessors())), dim3(queued_block), scene);
}

}  // namespace lg::surface
