// How a warp finds and sets up the faces near its pixels, on CUDA.
//
// There are no lists of faces per tile. Only the device would know their length, and the host must not wait for the
// device. Threads would also fill such lists in arbitrary order, whereas blending needs the order of the faces'
// indices.
//
// - Every face has a box: the pixels that it may reach. So do 32 consecutive faces (a group) and 32 groups (a node).
//   Meshes that keep neighbouring faces together have boxes that exclude most faces.
// - For faces in any other order, there is a bit for every face and bin, a square of 8 pixels or more: a word says
//   which
//   of a group's faces come near the bin. A further word per node and bin says which of the node's groups have any.
//
// A warp with its 8 x 4 pixels reads the words of its bin, 32 nodes at a time, and lists the groups. It then reads the
// words of 32 groups at a time and tests the boxes of their faces, and so finds its faces in order. Each step costs one
// memory latency, so the number of steps matters. The memory is 8.3 bytes per face and view, and a bit per face and
// bin; bins are large enough to keep all bits within 256 MB. Nothing depends on the faces' sizes or the blur, and
// nothing can overflow.
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
constexpr int64_t smallest_bin = 8, most_bin_bytes = 1 << 12;  // so that small scenes have several bins, or too many
#else
constexpr int64_t smallest_bin = 8, most_bin_bytes = 1 << 28;
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
  uint32_t* bits;                       // [nodes, bins, 32]: of the node's groups, a bit per face
  uint32_t* marks;                      // [bins, nodes]: a bit per group whose word is not zero
  int64_t bin_size, bins_across, bins;  // size in pixels
  int64_t all_nodes;                    // of all views

  LG_DEVICE uint32_t* word(int64_t group, int64_t bin) const {
    return bits + (group / 32 * bins + bin) * 32 + group % 32;
  }
  LG_DEVICE uint32_t* mark(int64_t node, int64_t bin) const { return marks + bin * all_nodes + node; }
};

// The bins [x0, x1] x [y0, y1] that a box overlaps; none if the box is empty.
LG_DEVICE Box bins_of(const FaceBoxes& boxes, const FaceBox& box) {
  const auto size = static_cast<int32_t>(boxes.bin_size);
  if (box.x0 > box.x1) return {0, 0, -1, -1};
  return {box.x0 / size, box.y0 / size, box.x1 / size, box.y1 / size};
}
LG_DEVICE int32_t area_of(const Box& box) { return (box.x1 - box.x0 + 1) * (box.y1 - box.y0 + 1); }

// Calls body(x, y, bin) for each bin.
template <class Body>
LG_DEVICE void for_bins(const FaceBoxes& boxes, const Box& bins, Body&& body) {
  for (int32_t y = bins.y0; y <= bins.y1; ++y) {
    for (int32_t x = bins.x0; x <= bins.x1; ++x) body(x, y, y * boxes.bins_across + x);
  }
}

// Writes the bits of a group, which are zero before. Each lane passes its face's box. The warp goes through the bins
// together or, if the group's faces are far apart, each lane goes through the bins of its own face.
LG_DEVICE void write_bits(const FaceBoxes& boxes, int64_t group, const FaceBox& box, const FaceBox& around) {
  const Box mine = bins_of(boxes, box), all = bins_of(boxes, around);
  const uint32_t group_bit = 1u << group % 32;
  if (warp_any(4 * area_of(mine) > area_of(all))) {
    for_bins(boxes, all, [&](int32_t x, int32_t y, int64_t bin) {
      const bool meets = x >= mine.x0 && x <= mine.x1 && y >= mine.y0 && y <= mine.y1;
      const uint32_t word = warp_ballot(meets);
      if (word == 0 || lane_id() != 0) return;
      *boxes.word(group, bin) = word;
      atomic_or(boxes.mark(group / 32, bin), group_bit);
    });
  } else {
    for_bins(boxes, mine, [&](int32_t, int32_t, int64_t bin) {
      atomic_or(boxes.word(group, bin), 1u << lane_id());
      atomic_or(boxes.mark(group / 32, bin), group_bit);
    });
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
    boxes_.all_nodes = nodes_;
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
    if (boxes_.bits) boxes_.marks = boxes_.bits + nodes_ * boxes_.bins * 32;
    device_views_ = workspace.take<uint32_t>(words());
    boxes_.views = reinterpret_cast<const ViewFaces*>(device_views_);
  }

  // attr_tri: further indices, into attr_vertices, which must also be valid; may be null.
  template <class T>
  FaceBoxes run(Queue& queue, const Scene<T>& scene, const int32_t* attr_tri, int64_t attr_vertices) const {
    queue.upload(views_.data(), words(), device_views_);
    queue.fill_bytes(boxes_.bits, 0, bit_bytes());
    const dim3 grid(static_cast<unsigned>(std::min(4 * most_nodes_, max_grid_x)),
                    static_cast<unsigned>(std::min(scene.image.views, max_grid_yz)));
    // Boxes decide for every single pixel whether it needs a face. They therefore also cover what rounding may add: to
    // positions in float32, and at the tip of a face (tip_tolerance()).
    Scene<T> wider = scene;
    wider.reach += 1e-6 * (scene.reach + static_cast<double>(std::max(scene.image.width, scene.image.height))) +
                   1.01 * std::sqrt(tip_tolerance<float>()) / scene.viewport.step;
    queue.launch(make_face_boxes<T>, grid, dim3(256), wider, attr_tri, attr_vertices, boxes_);
    queue.launch_items(make_node_boxes, nodes_ * 32, boxes_, nodes_ * 32);
    return boxes_;
  }

 private:
  int64_t bit_bytes() const { return nodes_ * boxes_.bins * 33 * 4; }  // of words and marks
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

// Numbers in order, of which a warp takes up to 32 at a time. They wait in 64 places of shared memory; further ones are
// bits of a word per lane.
class WaitingNumbers {
 public:
  LG_DEVICE explicit WaitingNumbers(int32_t (&waiting)[64]) : waiting_(waiting) {}

  // Returns how many numbers are now in the first places; 0 at the end. refill(first, bits) gets the next words: the
  // lane's bits stand for the numbers first + 0, ... first + 31, which follow those of the lane below. It returns false
  // if there are no more.
  template <class Refill>
  LG_DEVICE int next(Refill&& refill) {
    drop_dealt();
    while (count_ < 32) {
      if (!warp_any(bits_ != 0)) {
        if (!refill(first_, bits_)) break;
        continue;
      }
      take_bits();
    }
    warp_sync();
    dealt_ = count_ < 32 ? count_ : 32;
    return dealt_;
  }

  LG_DEVICE int32_t of_lane() const { return waiting_[lane_id()]; }

 private:
  LG_DEVICE void drop_dealt() {
    count_ -= dealt_;
    dealt_ = 0;
    if (count_ == 0) return;
    const int32_t moved = waiting_[32 + lane_id()];
    warp_sync();
    if (static_cast<int>(lane_id()) < count_) waiting_[lane_id()] = moved;
  }

  // Moves numbers from the lanes' words to the free places, as many as fit.
  LG_DEVICE void take_bits() {
    const int mine = bit_count(bits_);
    const int through = running_sum(mine);  // of this lane and those below
    for (int place = count_ + through - mine; bits_ != 0 && place < 64; ++place) {
      waiting_[place] = first_ + lowest_bit(bits_);
      bits_ &= bits_ - 1;
    }
    count_ = minimum<int>(count_ + warp_shuffle(through, 31), 64);
  }

  int32_t (&waiting_)[64];
  int32_t first_ = 0;
  uint32_t bits_ = 0;
  int count_ = 0, dealt_ = 0;
};

// The shared memory that a warp needs to find faces: groups and faces that wait for their turn.
struct WaitingFaces {
  int32_t groups[64], faces[64];
};

// Iterates over the faces whose boxes overlap the warp's part, up to 32 at a time, in the order of their indices.
class NearFaces {
 public:
  LG_DEVICE NearFaces(const FaceBoxes& boxes, int64_t view, const Box& part, WaitingFaces& waiting)
      : boxes_(boxes),
        in_view_(boxes.views[view]),
        part_(part),
        bin_(part.y0 / boxes.bin_size * boxes.bins_across + part.x0 / boxes.bin_size),
        groups_(waiting.groups),
        faces_(waiting.faces) {
    if (part.x0 > part.x1 || part.y0 > part.y1) next_node_ = in_view_.nodes();  // outside the image
  }

  LG_DEVICE const FaceBox& box(int32_t face) const {
    return boxes_.faces[in_view_.node * faces_per_node + (face - in_view_.first)];
  }

  // Returns the number of faces that are now in the first places of waiting.faces; 0 at the end.
  LG_DEVICE int next() {
    return faces_.next([&](int32_t& first, uint32_t& bits) { return read_groups(first, bits); });
  }

 private:
  // The groups of the next 32 nodes.
  LG_DEVICE bool read_nodes(int32_t& first, uint32_t& bits) {
    const int64_t nodes = in_view_.nodes();
    if (next_node_ >= nodes) return false;
    const int64_t mine = next_node_ + lane_id();
    bits = 0;
    if (mine < nodes && meet(boxes_.nodes[in_view_.node + mine], part_))
      bits = *boxes_.mark(in_view_.node + mine, bin_);
    first = static_cast<int32_t>(mine * 32);
    next_node_ += 32;
    return true;
  }

  // The faces of the next 32 groups.
  LG_DEVICE bool read_groups(int32_t& first, uint32_t& bits) {
    const int count = groups_.next([&](int32_t& group, uint32_t& marks) { return read_nodes(group, marks); });
    bits = 0;
    if (count == 0) return false;
    const bool mine = static_cast<int>(lane_id()) < count;
    const int32_t group = mine ? groups_.of_lane() : 0;
    const int64_t slot = in_view_.node * 32 + group;
    if (mine && meet(boxes_.groups[slot], part_)) bits = *boxes_.word(slot, bin_);
    test_faces(slot, bits);
    first = static_cast<int32_t>(in_view_.first + 32 * static_cast<int64_t>(group));
    return true;
  }

  // Clears the bits of faces whose boxes do not overlap. Either all lanes test the faces of one group, or each lane
  // tests those of its own group one by one, whichever takes fewer steps.
  LG_DEVICE void test_faces(int64_t slot, uint32_t& bits) const {
    const uint32_t groups = warp_ballot(bits != 0);
    if (warp_any(bit_count(bits) > bit_count(groups))) {
      for (uint32_t left = groups; left; left &= left - 1) {
        const auto lane = static_cast<unsigned>(lowest_bit(left));
        const int64_t tested = warp_shuffle(slot, lane);
        const uint32_t met = warp_ballot(meet(boxes_.faces[tested * 32 + lane_id()], part_));
        if (lane_id() == lane) bits &= met;
      }
    } else {
      for (uint32_t left = bits; left; left &= left - 1) {
        const int face = lowest_bit(left);
        if (!meet(boxes_.faces[slot * 32 + face], part_)) bits &= ~(1u << face);
      }
    }
  }

  const FaceBoxes& boxes_;
  const ViewFaces in_view_;
  const Box& part_;
  const int64_t bin_;
  WaitingNumbers groups_, faces_;
  int64_t next_node_ = 0;
};

// A face set up for a warp.
template <class T>
struct WarpFace {
  Face<T> face;
  T least_z;
  int32_t number;
  T unused;  // so that lanes reading different faces read from different banks of shared memory
};
static_assert(sizeof(WarpFace<float>) % 8 == 4 && sizeof(WarpFace<double>) % 16 == 8, "an odd number of values");

// The shared memory of a warp.
template <class T>
struct WarpFaces {
  WaitingFaces waiting;
  WarpFace<T> face[32];
};

// A face with a vertex behind the near plane; it has no edges if there is nothing to draw.
template <class T>
LG_DEVICE_NOINLINE Face<T> make_cut_face(Scene<T> scene, int64_t view, int32_t number, int64_t column, int64_t row) {
  double p[3][4];
  scene.corners(view, number, p);
  FaceFrame frame;
  Face<T> face = {};
  if (make_frame(p, column, row, scene.viewport, scene.flags, frame)) make_face(frame, scene.flags, face);
  return face;
}

// Sets up a face around the centre of pixel (column, row). Returns false if there is nothing to draw. For a face in
// front of the near plane, the ends of its edges are known at compile time, so all its numbers stay in registers.
template <class T>
LG_DEVICE bool make_face_near(const Scene<T>& scene, int64_t view, int32_t number, int64_t column, int64_t row,
                              Face<T>& face) {
  double p[3][4];
  scene.corners(view, number, p);
  unsigned behind;
  if (!find_behind(p, behind)) return false;
  if (behind != 0) {
    face = make_cut_face(scene, view, number, column, row);
    return face.edges > 0;
  }
  FaceFrame frame;
  if (!make_frame_of<false>(p, 0, column, row, scene.viewport, scene.flags, frame)) return false;
  make_face<false>(frame, scene.flags, face);
  return true;
}

// Sets up the first `count` waiting faces, one per lane, by make(number, face), which returns false if there is nothing
// to draw. Returns whether the lane's face may be visible. The caller synchronises the warp.
template <class T, class Make>
LG_DEVICE bool set_up(const Scene<T>& scene, const WarpPixels<T>& at, int count, WarpFaces<T>& faces, Make&& make) {
  const unsigned lane = lane_id();
  if (static_cast<int>(lane) >= count) return false;
  WarpFace<T>& mine = faces.face[lane];
  mine.number = faces.waiting.faces[lane];
  if (!make(mine.number, mine.face)) return false;
  mine.least_z = min_z_of(mine.face, scene.flags);
  return may_reach(mine.face, at.center_x, at.center_y, at.margin);
}

// The pixels of a warp's part that lie in an overlapping box, with one bit per lane.
LG_DEVICE uint32_t pixels_of(const FaceBox& box, const Box& part) {
  const int32_t x0 = maximum<int32_t>(box.x0 - part.x0, 0), x1 = minimum<int32_t>(box.x1 - part.x0, 7);
  const int32_t y0 = maximum<int32_t>(box.y0 - part.y0, 0), y1 = minimum<int32_t>(box.y1 - part.y0, 3);
  const uint32_t line = 0xffu >> (7 - (x1 - x0)) << x0;
  return line * (0x01010101u >> 8 * (3 - (y1 - y0)) << 8 * y0);
}

// Lane i passes one bit per lane; lane k receives bit k of every lane.
LG_DEVICE uint32_t transpose_bits(uint32_t bits) {
  uint32_t low = 0x0000ffffu;
  for (unsigned step = 16; step > 0; step /= 2, low ^= low << step) {
    const uint32_t theirs = warp_shuffle(bits, lane_id() ^ step);
    bits = lane_id() & step ? (theirs >> step & low) | (bits & ~low) : (bits & low) | (theirs & low) << step;
  }
  return bits;
}

// Calls body(face) in each lane for all faces near its pixel, in the order of their indices. Boxes hold no pixels
// outside the image. body calls no warp functions.
template <class T, class Body>
LG_DEVICE void for_near_faces(const Scene<T>& scene, const FaceBoxes& boxes, int64_t view, const WarpPixels<T>& at,
                              WarpFaces<T>& faces, Body&& body) {
  NearFaces near(boxes, view, at.part, faces.waiting);
  const auto make = [&](int32_t number, Face<T>& face) {
    return make_face_near(scene, view, number, at.anchor_x, at.anchor_y, face);
  };
  while (const int count = near.next()) {
    uint32_t pixels = 0;
    if (set_up(scene, at, count, faces, make)) pixels = pixels_of(near.box(faces.face[lane_id()].number), at.part);
    uint32_t mine = transpose_bits(pixels);
    warp_sync();
    for (; mine; mine &= mine - 1) body(static_cast<const WarpFace<T>&>(faces.face[lowest_bit(mine)]));
  }
}

}  // namespace lg::soft
