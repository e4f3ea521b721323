// How a warp finds and sets up the faces near its pixels, on CUDA.
//
// The length of a list of faces per tile would be known only on the device, and the host must not wait for the device.
// Threads would also fill such lists in any order, whereas blending needs the order of the faces' indices. So there are
// no lists.
//
// - Every face has a box: the pixels that it may reach. So have 32 consecutive faces (a group) and 32 groups (a node).
//   Meshes keep neighbouring faces together, so that coarse boxes exclude most faces.
// - For faces in any other order there is a bit for every face and bin, a square of 64 pixels or more: a word says
//   which of a group's faces come near the bin.
//
// A warp with its 8 x 4 pixels tests nodes, 32 at a time, then those groups of the overlapping nodes whose words for
// its bin are not zero, then their faces, and so finds its faces in order. The memory is 8.3 bytes per face and view,
// and a bit per face and bin; bins are large enough to keep all bits within 256 MB. Nothing depends on the faces' sizes
// or the blur, and nothing can overflow.
#pragma once

#include <vector>

#include "runtime/cuda/launch.h"
#include "soft/scene.h"

namespace lg::soft {

constexpr int64_t max_resolution = 32768;  // boxes hold 16-bit numbers
constexpr int warps_per_block = 2;         // a block: 16 x 4 pixels
constexpr int threads_per_block = warps_per_block * static_cast<int>(warp_size);
constexpr int64_t faces_per_node = 32 * 32;
constexpr int64_t most_bins = 1024;
#if defined(LG_CUDA_EMULATED)
constexpr int64_t smallest_bin = 16, most_bin_bytes = 1 << 12;  // so that small scenes have several bins, and too many
#else
constexpr int64_t smallest_bin = 64, most_bin_bytes = 1 << 28;
#endif

struct alignas(8) FaceBox {
  uint16_t x0, y0, x1, y1;  // pixels, the last ones included; x0 > x1: none
};

LG_DEVICE FaceBox face_box(const Box& box) {
  if (box.empty()) return {0xffff, 0xffff, 0, 0};
  return {static_cast<uint16_t>(box.x0), static_cast<uint16_t>(box.y0), static_cast<uint16_t>(box.x1),
          static_cast<uint16_t>(box.y1)};
}

LG_DEVICE bool meet(const FaceBox& a, const Box& b) {
  return a.x0 <= b.x1 && a.x1 >= b.x0 && a.y0 <= b.y1 && a.y1 >= b.y0;
}

// The box around the boxes of all lanes of the warp.
LG_DEVICE FaceBox box_of_warp(const FaceBox& box) {
  int32_t edge[4] = {box.x0, box.y0, -box.x1, -box.y1};
  for (unsigned step = 16; step; step /= 2) {
    int32_t theirs[4];
    warp_shuffle_all(edge, lane_id() ^ step, theirs);
    for (int k = 0; k < 4; ++k) edge[k] = edge[k] < theirs[k] ? edge[k] : theirs[k];
  }
  return {static_cast<uint16_t>(edge[0]), static_cast<uint16_t>(edge[1]), static_cast<uint16_t>(-edge[2]),
          static_cast<uint16_t>(-edge[3])};
}

// ---- The boxes of a scene ------------------------------------------------------------------------------------------

// The faces [first, first + count) of a view, and its first node.
struct ViewFaces {
  int64_t first, count, node;
  LG_DEVICE int64_t nodes() const { return (count + faces_per_node - 1) / faces_per_node; }
};

// The boxes on the device.
struct FaceBoxes {
  FaceBox *faces, *groups, *nodes;  // of one face, of 32, of 32 * 32
  const ViewFaces* views;
  uint32_t* bits;                       // [nodes, bins, 32]: of the node's groups
  int64_t bin_size, bins_across, bins;  // size in pixels

  LG_DEVICE uint32_t* words(int64_t node, int64_t bin) const { return bits + (node * bins + bin) * 32; }
};

// Writes the bits of a group. Each lane passes its face's box; the bits are zero before.
LG_DEVICE void write_bits(const FaceBoxes& boxes, int64_t group, const FaceBox& box, const FaceBox& around) {
  const auto size = static_cast<int32_t>(boxes.bin_size);
  for (int32_t y = around.y0 / size; y <= around.y1 / size; ++y) {
    for (int32_t x = around.x0 / size; x <= around.x1 / size; ++x) {
      const Box bin = {x * size, y * size, (x + 1) * size - 1, (y + 1) * size - 1};
      const uint32_t word = warp_ballot(meet(box, bin));
      if (word && lane_id() == 0) boxes.words(group / 32, y * boxes.bins_across + x)[group % 32] = word;
    }
  }
}

// Whether all indices of a face are valid. Other faces have no box.
template <class T>
LG_DEVICE bool has_vertices(const Scene<T>& scene, int64_t face, const int32_t* attr_tri, int64_t attr_vertices) {
  bool valid = true;
  for (int k = 0; k < 3; ++k) {
    const int32_t index = scene.mesh.tri[3 * face + k];
    valid = valid && index >= 0 && index < scene.mesh.vertices;
    if (attr_tri) valid = valid && attr_tri[3 * face + k] >= 0 && attr_tri[3 * face + k] < attr_vertices;
  }
  return valid;
}

template <class T>
LG_DEVICE_NOINLINE Box box_of_cut(const Scene<T>& scene, int64_t view, int64_t face) {
  return box_of_cut_face(scene, view, face);
}

template <class T>
LG_DEVICE Box find_box(const Scene<T>& scene, int64_t view, int64_t face) {
  ScreenVertex corner[3];
  for (int k = 0; k < 3; ++k) {
    const T* p = scene.pos + 4 * (scene.mesh.first_row(view) + scene.mesh.tri[3 * face + k]);
    corner[k] = make_screen_vertex(p, scene.image.width, scene.image.height);
  }
  const int32_t flags = corner[0].flags | corner[1].flags | corner[2].flags;
  if (flags & vertex_unusable) return {0, 0, -1, -1};
  return flags ? box_of_cut(scene, view, face) : box_of(scene, corner[0], corner[1], corner[2]);
}

template <class T>
__global__ void __launch_bounds__(256)
    make_face_boxes(Scene<T> scene, const int32_t* attr_tri, int64_t attr_vertices, FaceBoxes boxes) {
  for (int64_t view = blockIdx.y; view < scene.image.views; view += gridDim.y) {
    const ViewFaces faces = boxes.views[view];
    for (int64_t i = first_item(); i < faces.nodes() * faces_per_node; i += item_step()) {
      FaceBox box = face_box({0, 0, -1, -1});
      const int64_t face = faces.first + i;
      if (i < faces.count && has_vertices(scene, face, attr_tri, attr_vertices)) {
        box = face_box(find_box(scene, view, face));
      }
      const int64_t slot = faces.node * faces_per_node + i;
      boxes.faces[slot] = box;
      const FaceBox around = box_of_warp(box);
      if (lane_id() == 0) boxes.groups[slot / 32] = around;
      write_bits(boxes, slot / 32, box, around);
    }
  }
}

static __global__ void __launch_bounds__(items_per_block) make_node_boxes(FaceBoxes boxes, int64_t groups) {
  for (int64_t i = first_item(); i < groups; i += item_step()) {
    const FaceBox around = box_of_warp(boxes.groups[i]);
    if (lane_id() == 0) boxes.nodes[i / 32] = around;
  }
}

// Computes the boxes: the host side.
class FaceBoxPass {
 public:
  // ranges: on the host, (first, count) of each view; null: all faces.
  FaceBoxPass(const int64_t* ranges, int64_t views, int64_t triangles, int64_t height, int64_t width) {
    for (int64_t view = 0; view < views; ++view) {
      const ViewFaces faces = {ranges ? ranges[2 * view] : 0, ranges ? ranges[2 * view + 1] : triangles, nodes_};
      views_.push_back(faces);
      nodes_ += divide_up(faces.count, faces_per_node);
      most_nodes_ = std::max(most_nodes_, divide_up(faces.count, faces_per_node));
    }
    boxes_.bin_size = smallest_bin / 2;
    do {
      boxes_.bin_size *= 2;
      boxes_.bins_across = divide_up(width, boxes_.bin_size);
      boxes_.bins = boxes_.bins_across * divide_up(height, boxes_.bin_size);
    } while (boxes_.bins > most_bins || (boxes_.bins > 1 && bit_bytes() > most_bin_bytes));
  }

  void plan(Workspace& workspace) {
    boxes_.faces = workspace.take<FaceBox>(nodes_ * faces_per_node);
    boxes_.groups = workspace.take<FaceBox>(nodes_ * 32);
    boxes_.nodes = workspace.take<FaceBox>(nodes_);
    boxes_.bits = workspace.take<uint32_t>(bit_bytes() / 4);
    device_views_ = workspace.take<uint32_t>(words());
    boxes_.views = reinterpret_cast<const ViewFaces*>(device_views_);
  }

  // attr_tri: further indices, into attr_vertices, which must be valid too; may be null.
  template <class T>
  FaceBoxes run(Queue& queue, const Scene<T>& scene, const int32_t* attr_tri, int64_t attr_vertices) const {
    queue.upload(views_.data(), words(), device_views_);
    queue.fill_bytes(boxes_.bits, 0, bit_bytes());
    const dim3 grid(static_cast<unsigned>(std::min(4 * most_nodes_, max_grid_x)),
                    static_cast<unsigned>(std::min(scene.image.views, max_grid_yz)));
    queue.launch(make_face_boxes<T>, grid, dim3(256), scene, attr_tri, attr_vertices, boxes_);
    queue.launch_items(make_node_boxes, nodes_ * 32, boxes_, nodes_ * 32);
    return boxes_;
  }

 private:
  int64_t bit_bytes() const { return nodes_ * boxes_.bins * 128; }
  int64_t words() const { return static_cast<int64_t>(views_.size() * sizeof(ViewFaces) / sizeof(uint32_t)); }

  std::vector<ViewFaces> views_;
  int64_t nodes_ = 0, most_nodes_ = 0;
  FaceBoxes boxes_ = {};
  uint32_t* device_views_ = nullptr;
};

// ---- A warp's pixels and faces ------------------------------------------------------------------------------------

inline dim3 pixel_grid(int64_t views, int64_t height, int64_t width) {
  const int64_t blocks = divide_up(width, image_block_width) * divide_up(height, 4);
  return dim3(static_cast<unsigned>(blocks), 1, static_cast<unsigned>(std::min(views, max_grid_yz)));
}

// The pixel of a thread, and what it shares with its warp: the part of the image and the anchor of faces.
template <class T>
struct WarpPixels {
  int64_t column, row;
  bool inside;
  Box part;  // none if all pixels are outside the image
  int64_t anchor_x, anchor_y;
  T px, py, x, y;                // relative to the anchor: in pixels, and in isotropic units
  T center_x, center_y, margin;  // a circle around the part, widened by the blur

  LG_DEVICE WarpPixels(const Scene<T>& scene, int64_t tile) {
    const PixelPlace place = pixel_place_in_blocks({scene.image.views, scene.image.height, scene.image.width}, 4);
    column = place.column, row = place.row, inside = place.inside;
    const unsigned lane = lane_id();
    const auto x0 = static_cast<int32_t>(column - lane % 8), y0 = static_cast<int32_t>(row - lane / 8);
    part.x0 = x0, part.y0 = y0;
    part.x1 = minimum<int32_t>(x0 + 7, scene.viewport.width - 1);
    part.y1 = minimum<int32_t>(y0 + 3, scene.viewport.height - 1);
    anchor_x = x0 - x0 % tile, anchor_y = y0 - y0 % tile;
    const T step = static_cast<T>(scene.viewport.step);
    px = static_cast<T>(column - anchor_x), py = static_cast<T>(row - anchor_y);
    x = px * step, y = -py * step;
    center_x = (static_cast<T>(x0 - anchor_x) + T(3.5)) * step;
    center_y = -(static_cast<T>(y0 - anchor_y) + T(1.5)) * step;
    margin = (static_cast<T>(scene.reach) + T(3.81)) * step * T(1.0001);
  }

  LG_DEVICE int64_t pixel(const Scene<T>& scene, int64_t view) const { return scene.image.pixel(view, row, column); }
};

// Iterates over the faces whose boxes overlap the warp's part, up to 32 at a time, in the order of their indices.
class NearFaces {
 public:
  // waiting: shared memory of this warp.
  LG_DEVICE NearFaces(const FaceBoxes& boxes, int64_t view, const Box& part, int32_t (&waiting)[64])
      : boxes_(boxes),
        faces_(boxes.views[view]),
        part_(part),
        waiting_(waiting),
        bin_(part.y0 / boxes.bin_size * boxes.bins_across + part.x0 / boxes.bin_size) {
    if (part.x0 > part.x1 || part.y0 > part.y1) next_nodes_ = faces_.nodes();  // outside the image
  }

  // Returns the number of faces that are now in the first places of `waiting`; 0 at the end.
  LG_DEVICE int next() {
    drop_dealt();
    while (count_ < 32 && find_group()) gather();
    warp_sync();
    dealt_ = count_ < 32 ? count_ : 32;
    return dealt_;
  }

 private:
  LG_DEVICE void drop_dealt() {
    count_ -= dealt_;
    if (count_ == 0) return;
    const int32_t moved = waiting_[32 + lane_id()];
    warp_sync();
    if (static_cast<int>(lane_id()) < count_) waiting_[lane_id()] = moved;
  }

  // Finds the next group of 32 faces whose box overlaps.
  LG_DEVICE bool find_group() {
    const int64_t nodes = faces_.nodes();
    while (groups_met_ == 0) {
      while (nodes_met_ == 0) {
        if (next_nodes_ >= nodes) return false;
        const int64_t mine = next_nodes_ + lane_id();
        nodes_met_ = warp_ballot(mine < nodes && meet(boxes_.nodes[faces_.node + mine], part_));
        first_node_ = next_nodes_;
        next_nodes_ += 32;
      }
      node_ = first_node_ + lowest_bit(nodes_met_);
      nodes_met_ &= nodes_met_ - 1;
      const int64_t node = faces_.node + node_;
      groups_met_ =
          warp_ballot(boxes_.words(node, bin_)[lane_id()] != 0 && meet(boxes_.groups[node * 32 + lane_id()], part_));
    }
    group_ = node_ * 32 + lowest_bit(groups_met_);
    groups_met_ &= groups_met_ - 1;
    return true;
  }

  LG_DEVICE void gather() {
    const int64_t i = group_ * 32 + lane_id();
    const bool met = meet(boxes_.faces[faces_.node * faces_per_node + i], part_);
    const uint32_t mask = warp_ballot(met);
    if (met) waiting_[count_ + bit_count(mask & lanes_below())] = static_cast<int32_t>(faces_.first + i);
    count_ += bit_count(mask);
  }

  const FaceBoxes& boxes_;
  const ViewFaces faces_;
  const Box& part_;
  int32_t (&waiting_)[64];
  const int64_t bin_;
  int64_t next_nodes_ = 0, first_node_ = 0, node_ = 0, group_ = 0;
  uint32_t nodes_met_ = 0, groups_met_ = 0;
  int count_ = 0, dealt_ = 0;
};

// A face set up for a warp.
template <class T>
struct WarpFace {
  Face<T> face;
  T least_z;
  int32_t number;
};

// The shared memory of a warp.
template <class T>
struct WarpFaces {
  int32_t waiting[64];
  WarpFace<T> face[32];
};

// Sets up the first `count` of the waiting faces, one per lane; `frame` belongs to the lane's own face. Returns the
// mask of the faces that may be visible.
template <class T>
LG_DEVICE uint32_t set_up(const Scene<T>& scene, int64_t view, const WarpPixels<T>& at, int count, WarpFaces<T>& faces,
                          FaceFrame& frame) {
  const unsigned lane = lane_id();
  bool shows = static_cast<int>(lane) < count;
  if (shows) {
    WarpFace<T>& mine = faces.face[lane];
    mine.number = faces.waiting[lane];
    double p[3][4];
    scene.corners(view, mine.number, p);
    shows = make_frame(p, at.anchor_x, at.anchor_y, scene.viewport, scene.flags, frame);
    if (shows) {
      make_face(frame, scene.flags, mine.face);
      mine.least_z = min_z_of(mine.face, scene.flags);
      shows = may_reach(mine.face, at.center_x, at.center_y, at.margin);
    }
  }
  const uint32_t mask = warp_ballot(shows);
  warp_sync();
  return mask;
}

// Calls body(face) for all faces near the warp's pixels, in the order of their indices, in the lanes inside the image.
// body calls no warp functions.
template <class T, class Body>
LG_DEVICE void for_near_faces(const Scene<T>& scene, const FaceBoxes& boxes, int64_t view, const WarpPixels<T>& at,
                              WarpFaces<T>& faces, Body&& body) {
  NearFaces near(boxes, view, at.part, faces.waiting);
  FaceFrame frame;
  while (const int count = near.next()) {
    for (uint32_t mask = set_up(scene, view, at, count, faces, frame); mask; mask &= mask - 1) {
      if (at.inside) body(static_cast<const WarpFace<T>&>(faces.face[lowest_bit(mask)]));
    }
  }
}

}  // namespace lg::soft
