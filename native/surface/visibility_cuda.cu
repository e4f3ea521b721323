// Visibility on CUDA: one number for each pixel, made smaller by atomics (visibility_cuda.h).
//
// Vertices are snapped once. Then there is one thread for each triangle. Most triangles of a fine mesh hold no pixel
// centre and are done at that; small ones are drawn by their thread; large ones are put into a queue, as a number of
// square jobs, which all warps of a second launch divide among themselves. Neither a million tiny triangles nor a few
// that fill the image leave the device idle, and nothing waits for the host. A full queue is no error: the warp that
// finds it full draws the triangle itself.
//
// Compiled without fused multiply-add: coverage and depth are those of the CPU, bit for bit.
#include "surface/visibility_cuda.h"

#include "parallel/for_each.h"

namespace lg::surface {

// A queued triangle. Its jobs follow those of the triangles before it.
struct LargeTriangle {
  int64_t first_job;
  int32_t jobs, triangle, view;
  int32_t piece;  // of a clipped triangle; -1: the whole
};

namespace {

constexpr int job_size = 32;          // pixels, square
constexpr int32_t small_pixels = 64;  // boxes of up to this many pixels are drawn by one thread
#if defined(LG_CUDA_EMULATED)
constexpr int64_t most_queued = 48;  // so that tests run into a full queue
#else
constexpr int64_t most_queued = 1 << 20;
#endif
constexpr int clipped_pieces = clip_planes + 1;
// The queue's counter: triangles in the upper bits, jobs in the lower ones. Both fit easily (see enqueue()).
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

// A triangle ready to be drawn into a part of the image, at most job_size (or small_pixels) pixels wide and high.
struct Prepared {
  PartEdge edge[3];
  int32_t x0, y0, columns, rows;
};

// False where the part is outside one of the edges.
LG_DEVICE bool prepare(const SnappedTriangle& t, const PixelBox& part, int32_t bits, Prepared* out) {
  out->x0 = part.x0;
  out->y0 = part.y0;
  out->columns = part.x1 - part.x0 + 1;
  out->rows = part.y1 - part.y0 + 1;
  return make_part_edges(t, part.x0, part.y0, out->columns, out->rows, bits, out->edge);
}

LG_DEVICE bool covers(const Prepared& p, int32_t column, int32_t row) {
  int32_t outside = 0;  // its sign
#pragma unroll
  for (int k = 0; k < 3; ++k) outside |= p.edge[k].at(column, row);
  return outside >= 0;
}

LG_DEVICE float depth_at(const DepthPlane& p, int32_t column, int32_t row) {
  const float x = static_cast<float>(column - p.anchor_x), y = static_cast<float>(row - p.anchor_y);
  const float z = (p.at_anchor + p.dy * y) + p.dx * x, below_high = p.high < z ? p.high : z;
  return p.low > below_high ? p.low : below_high;
}

// The triangle becomes the pixel's unless there is a nearer one, or it is not behind the layer in front.
LG_DEVICE void draw_pixel(const Scene& s, int64_t view, int32_t column, int32_t row, float depth, int32_t triangle) {
  const int64_t pixel = s.r.image.pixel(view, row, column);
  if (s.r.after_tri) {
    const int32_t front_triangle = s.r.after_tri[pixel];
    if (front_triangle < 0) return;
    const float front = s.r.after_zbuffer[pixel];
    const bool next_of_equals = !s.r.drop_coincident && front <= depth && triangle < front_triangle;
    if (!(front < depth || next_of_equals)) return;
  }
  uint64_t* key = s.keys + pixel * s.stride;
  const uint64_t mine = visibility_key(depth, triangle);
  if (mine < load_fresh(key)) atomic_min(key, mine);
}

LG_DEVICE void draw_small(const Scene& s, int64_t view, const SnappedTriangle& t, const PixelBox& box,
                          int32_t triangle) {
  const int32_t bits = s.viewport.subpixel_bits;
  Prepared p;
  if (!prepare(t, box, bits, &p)) return;
  uint64_t covered = 0;  // pixel by pixel, along the rows of the box
  int32_t bit = 0;
  for (int32_t row = 0; row < p.rows; ++row) {
    for (int32_t column = 0; column < p.columns; ++column, ++bit) {
      covered |= static_cast<uint64_t>(covers(p, column, row)) << bit;
    }
  }
  if (covered == 0) return;
  const DepthPlane plane = depth_plane_of(t, box, bits);
  for (; covered; covered &= covered - 1) {
    const int32_t i = lowest_bit(covered), row = i / p.columns;
    const int32_t x = box.x0 + i - row * p.columns, y = box.y0 + row;
    draw_pixel(s, view, x, y, depth_at(plane, x, y), triangle);
  }
}

LG_DEVICE int32_t jobs_across(const PixelBox& box) { return (box.x1 - box.x0) / job_size + 1; }
LG_DEVICE int32_t jobs_of(const PixelBox& box) { return jobs_across(box) * ((box.y1 - box.y0) / job_size + 1); }

// A warp draws one job of a triangle: a square part of its box. Lanes lie side by side along rows, or on several
// rows where the part is narrow.
LG_DEVICE void draw_job(const Scene& s, int64_t view, const SnappedTriangle& t, const PixelBox& box, int32_t job,
                        int32_t triangle) {
  const int32_t bits = s.viewport.subpixel_bits, across = jobs_across(box);
  PixelBox part;
  part.x0 = box.x0 + job % across * job_size;
  part.y0 = box.y0 + job / across * job_size;
  part.x1 = part.x0 + job_size - 1 < box.x1 ? part.x0 + job_size - 1 : box.x1;
  part.y1 = part.y0 + job_size - 1 < box.y1 ? part.y0 + job_size - 1 : box.y1;
  Prepared p;
  if (!prepare(t, part, bits, &p)) return;
  const DepthPlane plane = depth_plane_of(t, box, bits);
  const int32_t shift = p.columns <= 8 ? 3 : p.columns <= 16 ? 4 : 5;
  const auto lane = static_cast<int32_t>(lane_id());
  const int32_t column = lane & ((1 << shift) - 1), step = static_cast<int32_t>(warp_size) >> shift;
  if (column >= p.columns) return;
  for (int32_t row = lane >> shift; row < p.rows; row += step) {
    if (!covers(p, column, row)) continue;
    draw_pixel(s, view, p.x0 + column, p.y0 + row, depth_at(plane, p.x0 + column, p.y0 + row), triangle);
  }
}

// ---- All triangles -----------------------------------------------------------------------------------------

// Queues the triangles of the lanes with large.jobs > 0. True in lanes whose triangle found no room. Called by all
// lanes of a warp, which need only one addition together.
LG_DEVICE bool enqueue(const Scene& s, LargeTriangle large) {
  const uint32_t lanes = warp_ballot(large.jobs > 0);
  if (lanes == 0) return false;
  const auto lane = static_cast<int>(lane_id());
  int64_t end = large.jobs;  // of this lane's jobs among those of the warp
  for (int step = 1; step < 32; step *= 2) {
    const int64_t before = warp_shuffle(end, static_cast<unsigned>(lane >= step ? lane - step : lane));
    end += lane >= step ? before : 0;
  }
  const auto all_jobs = static_cast<uint64_t>(warp_shuffle(end, 31));
  const auto leader = static_cast<unsigned>(lowest_bit(lanes));
  uint64_t start = static_cast<uint64_t>(s.queue_capacity) << job_bits;  // no room
  // Only warps that see room claim it, so that the counter passes the capacity by no more than the lanes of the warps
  // that are running.
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

// A triangle's snapped corners, which are defined where no flag is set.
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

// The corners of a triangle, or of a piece of a clipped one. Few are clipped, which is not worth registers elsewhere.
LG_DEVICE_NOINLINE SnappedTriangle clipped_corners(const Scene& s, int64_t view, int64_t t, int32_t piece) {
  Polygon polygon;
  clip(s, view, t, polygon);
  return piece_of(polygon, piece, s.viewport);
}
LG_DEVICE SnappedTriangle corners_of(const Scene& s, int64_t view, int64_t t, int32_t piece) {
  return piece < 0 ? fetch(s, view, t).corners : clipped_corners(s, view, t, piece);
}

// Draws a triangle or piece if it is small, and returns the number of its jobs if it is not.
LG_DEVICE int32_t draw_if_small(const Scene& s, int64_t view, const SnappedTriangle& corners, int64_t t) {
  const PixelBox box = corners.box(s.viewport);
  if (box.empty() || corners.area() == 0) return 0;
  if (static_cast<int64_t>(box.x1 - box.x0 + 1) * (box.y1 - box.y0 + 1) > small_pixels) return jobs_of(box);
  draw_small(s, view, corners, box, static_cast<int32_t>(t));
  return 0;
}

// The triangles that the lanes in `waiting` could not queue, drawn by the whole warp one after another.
LG_DEVICE void draw_together(const Scene& s, int64_t view, bool waiting, int64_t t, int32_t piece) {
  for (uint32_t lanes = warp_ballot(waiting); lanes; lanes &= lanes - 1) {
    const auto from = static_cast<unsigned>(lowest_bit(lanes));
    const int64_t theirs = warp_shuffle(t, from);
    const SnappedTriangle corners = corners_of(s, view, theirs, piece);
    const PixelBox box = corners.box(s.viewport);
    for (int32_t job = 0; job < jobs_of(box); ++job) {
      draw_job(s, view, corners, box, job, static_cast<int32_t>(theirs));
    }
  }
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

__global__ void __launch_bounds__(256, 3) draw_triangles(const __grid_constant__ Scene s, int64_t most_triangles) {
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
    draw_together(s, view, enqueue(s, large), t, -1);
  });
}

// The triangles that straddle a clip plane, which are few, if there are any at all.
__global__ void __launch_bounds__(256) draw_clipped(const __grid_constant__ Scene s, int64_t most_triangles) {
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
      draw_together(s, view, enqueue(s, large), t, piece);
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

__global__ void __launch_bounds__(256) draw_queued(const __grid_constant__ Scene s) {
  const uint64_t counter = *s.queue_counter;
  const auto claimed = static_cast<int64_t>(counter >> job_bits);
  const int64_t count = claimed < s.queue_capacity ? claimed : s.queue_capacity;
  if (count == 0) return;
  const int64_t jobs = s.queue[count - 1].first_job + s.queue[count - 1].jobs;
  const int64_t warps = item_step() / warp_size;
  for (int64_t job = first_item() / warp_size; job < jobs; job += warps) {
    const LargeTriangle large = s.queue[find_queued(s.queue, count, job)];
    const SnappedTriangle corners = corners_of(s, large.view, large.triangle, large.piece);
    const PixelBox box = corners.box(s.viewport);
    draw_job(s, large.view, corners, box, static_cast<int32_t>(job - large.first_job), large.triangle);
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
  const dim3 grid(static_cast<unsigned>(std::min(divide_up(most_triangles_, 256), max_grid_x)),
                  static_cast<unsigned>(std::min(r_.image.views, max_grid_yz)));
  queue.launch(draw_triangles, grid, dim3(256), scene, most_triangles_);
  queue.launch(draw_clipped, grid, dim3(256), scene, most_triangles_);
  queue.launch(draw_queued, dim3(static_cast<unsigned>(8 * multiprocessors())), dim3(256), scene);
}

}  // namespace lg::surface
