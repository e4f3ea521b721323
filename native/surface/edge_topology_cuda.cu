// edge_topology on CUDA: half-edges are collected by edge in a hash table, then each searches for the next one. They
// arrive at the table in any order, which does not affect the result.
#include "surface/edge_topology.h"

#include "runtime/cuda/launch.h"

namespace lg::surface {
namespace {

// Slots of edges, with open addressing. Half-edges of one edge form a list.
struct EdgeTable {
  uint64_t* edge;  // [capacity]: both vertices; ~0: free
  int32_t* head;   // [capacity]: a half-edge of the edge
  int32_t* next;   // [half-edges]: another half-edge of the same edge, or -1
  int64_t capacity;
};

struct Mesh {
  const int32_t* tri;
  const int32_t* weld;  // or null
  int64_t vertices, triangles;

  // Vertex of corner k of triangle t after welding; -1 for an index without a vertex.
  LG_DEVICE int32_t corner(int64_t t, int k) const {
    const int32_t v = tri[3 * t + k];
    if (v < 0 || (weld && v >= vertices)) return -1;
    return weld ? weld[v] : v;
  }
};

// A half-edge, with its edge as one number.
struct KeyedHalfEdge {
  uint64_t edge;
  bool downwards, linked;
};

LG_DEVICE KeyedHalfEdge half_edge(const Mesh& mesh, int64_t h) {
  const int64_t t = h / 3;
  const int32_t vertex[3] = {mesh.corner(t, 0), mesh.corner(t, 1), mesh.corner(t, 2)};
  const HalfEdge found = make_half_edge(vertex, static_cast<int>(h - 3 * t));
  return {static_cast<uint64_t>(found.low) << 32 | static_cast<uint64_t>(found.high), found.downwards, found.linked};
}

LG_DEVICE int64_t first_slot(uint64_t edge, int64_t capacity) {
  // The finaliser of MurmurHash3 spreads neighbouring vertices over the table.
  edge ^= edge >> 33;
  edge *= 0xff51afd7ed558ccdull;
  edge ^= edge >> 33;
  edge *= 0xc4ceb9fe1a85ec53ull;
  edge ^= edge >> 33;
  return static_cast<int64_t>(edge % static_cast<uint64_t>(capacity));
}

constexpr uint64_t free_slot = ~uint64_t{0};

__global__ void __launch_bounds__(items_per_block) insert_half_edges(Mesh mesh, EdgeTable table) {
  for (int64_t h = first_item(); h < 3 * mesh.triangles; h += item_step()) {
    const KeyedHalfEdge mine = half_edge(mesh, h);
    if (!mine.linked) continue;
    int64_t slot = first_slot(mine.edge, table.capacity);
    for (;;) {
      const uint64_t before = atomic_compare_exchange(table.edge + slot, free_slot, mine.edge);
      if (before == free_slot || before == mine.edge) break;
      slot = slot + 1 == table.capacity ? 0 : slot + 1;
    }
    table.next[h] = atomic_exchange(table.head + slot, static_cast<int32_t>(h));
  }
}

// Within a cycle, half-edges are ordered by number.
__global__ void __launch_bounds__(items_per_block) link_half_edges(Mesh mesh, EdgeTable table, int32_t* topology) {
  for (int64_t h = first_item(); h < 3 * mesh.triangles; h += item_step()) {
    const KeyedHalfEdge mine = half_edge(mesh, h);
    const auto self = static_cast<int32_t>(h);
    int32_t following = INT32_MAX, smallest = self;
    if (mine.linked) {
      int64_t slot = first_slot(mine.edge, table.capacity);
      while (table.edge[slot] != mine.edge) slot = slot + 1 == table.capacity ? 0 : slot + 1;
      for (int32_t other = table.head[slot]; other >= 0; other = table.next[other]) {
        if (other > self && other < following) following = other;
        if (other < smallest) smallest = other;
      }
    }
    const int32_t next = following == INT32_MAX ? smallest : following;
    const bool same_direction = next == self || half_edge(mesh, next).downwards == mine.downwards;
    topology[h] = topology_entry(next, same_direction);
  }
}

struct EdgeTopology {
  Mesh mesh;
  int32_t* topology;
  EdgeTable table = {};

  void plan(Workspace& workspace) {
    const int64_t half_edges = 3 * mesh.triangles;
    table.capacity = half_edges + half_edges / 2 + 1;
    table.edge = workspace.take<uint64_t>(table.capacity);
    table.head = workspace.take<int32_t>(table.capacity);
    table.next = workspace.take<int32_t>(half_edges);
  }

  void run(Queue& queue) {
    queue.fill_bytes(table.edge, 0xff, 8 * table.capacity);
    queue.fill_bytes(table.head, 0xff, 4 * table.capacity);
    queue.launch_items(insert_half_edges, 3 * mesh.triangles, mesh, table);
    queue.launch_items(link_half_edges, 3 * mesh.triangles, mesh, table, topology);
  }
};

}  // namespace
}  // namespace lg::surface

int32_t lg_edge_topology(lg_call* call, const int32_t* tri, const int32_t* weld, int64_t vertices, int64_t triangles,
                         int32_t* topology) {
  if (triangles > lg::surface::max_topology_triangles) {
    return lg::reject("tri has %lld triangles; edge topology holds at most %d", static_cast<long long>(triangles),
                      static_cast<int>(lg::surface::max_topology_triangles));
  }
  return lg::run_op(call, lg::surface::EdgeTopology{{tri, weld, vertices, triangles}, topology});
}
