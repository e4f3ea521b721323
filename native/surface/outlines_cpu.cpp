// outlines on the CPU: triangles are processed in chunks, each of which makes its own list; the lists are joined in the
// order of the chunks.
#include <algorithm>
#include <vector>

#include "lumigrad.h"
#include "runtime/check_indices.h"
#include "runtime/memory.h"
#include "runtime/status.h"
#include "runtime/threads.h"
#include "surface/entry_boxes_cpu.h"
#include "surface/outline_scene.h"

namespace lg::surface {
namespace {

constexpr int64_t triangles_per_task = 512, vertices_per_task = 4096, pieces_per_task = 512;

struct ListSink {
  Array<Piece>* pieces;
  Array<int32_t>* checks;

  void add(const Piece& piece) { pieces->push_back(piece); }
  void check(int32_t pixel) { checks->push_back(pixel); }
};

// The pieces of tasks, and the pixels whose centres are to be checked.
struct PieceLists {
  std::vector<Array<Piece>> pieces;
  std::vector<Array<int32_t>> checks;

  explicit PieceLists(int64_t tasks) : pieces(static_cast<size_t>(tasks)), checks(static_cast<size_t>(tasks)) {}
  ListSink operator[](int64_t task) { return {&pieces[static_cast<size_t>(task)], &checks[static_cast<size_t>(task)]}; }
};

// Buffers of one view, reused for the next.
template <class T>
class OutlineFinder {
 public:
  OutlineFinder(int32_t threads, const OutlineScene<T>& scene)
      : threads_(threads),
        scene_(scene),
        corners_(static_cast<size_t>(scene.vertices)),
        places_(static_cast<size_t>(scene.vertices)),
        facing_(static_cast<size_t>(scene.triangles)),
        edges_(static_cast<size_t>(scene.triangles)),
        boxes_(static_cast<size_t>(scene.triangles)),
        turns_(static_cast<size_t>(scene.vertices)) {}

  // The number of pieces of a view. Those that fit into the capacity become rows of the outputs.
  int64_t find(const OutlineView<T>& bare, const OutlineOutput<T>& out) {
    OutlineView<T> view = bare;
    view.facing = facing_.data();
    view.edges = edges_.data();
    view.boxes = boxes_.data();
    view.turns = turns_.data();
    view.corners = corners_.data();
    view.places = places_.data();
    const int64_t tasks = divide_up(scene_.triangles, triangles_per_task);
    const CellLists lists = prepare(view, tasks);
    const EntryBoxes scan(threads_, view, lists);
    const CrossingPairs pairs(threads_, view, lists, scan);
    PieceLists found(tasks + 1);
    parallel_for(threads_, tasks, [&](int64_t task, int) {
      ListSink sink = found[task];
      OutlineWalk<T, EntryBoxes, ListSink> walk(view, lists.grid, scan, sink);
      const int64_t end = std::min(scene_.triangles, (task + 1) * triangles_per_task);
      for (int64_t t = task * triangles_per_task; t < end; ++t) {
        follow_borders(view, t, walk);
        TriangleCrossings<T, OutlineWalk<T, EntryBoxes, ListSink>> crossings(view, t, walk);
        pairs.for_others(t, [&](int32_t other) { crossings.follow(other); });
      }
    });
    correct_centres(view, lists.grid, scan, found);
    return write(view, sorted_by_pixel(found.pieces), out);
  }

 private:
  // Flags and boxes of all triangles, and the cells' lists.
  CellLists prepare(const OutlineView<T>& view, int64_t tasks) {
    parallel_for(threads_, divide_up(scene_.vertices, vertices_per_task), [&](int64_t task, int) {
      const int64_t end = std::min(scene_.vertices, (task + 1) * vertices_per_task);
      for (int64_t v = task * vertices_per_task; v < end; ++v) find_corner(view, v);
    });
    std::vector<int64_t> sums(static_cast<size_t>(tasks * shifts), 0);
    const auto of_task = [&](int64_t task, auto&& body) {
      const int64_t end = std::min(scene_.triangles, (task + 1) * triangles_per_task);
      for (int64_t t = task * triangles_per_task; t < end; ++t) body(t);
    };
    parallel_for(threads_, tasks, [&](int64_t task, int) {
      of_task(task, [&](int64_t t) {
        find_triangle(view, t);
        if (view.boxes[t].empty()) return;
        count_entries(view.boxes[t], view.width, view.height, sums.data() + task * shifts);
      });
    });
    parallel_for(threads_, tasks,
                 [&](int64_t task, int) { of_task(task, [&](int64_t t) { view.edges[t] = outlines_of(view, t); }); });
    find_turns(view);
    int64_t entries[shifts] = {};
    for (int64_t task = 0; task < tasks; ++task) {
      for (int i = 0; i < shifts; ++i) entries[i] += sums[static_cast<size_t>(task * shifts + i)];
    }
    return fill(view, choose_grid(view.width, view.height, scene_.triangles, entries));
  }

  // Each task goes through all triangles and adds to its own range of vertices.
  void find_turns(const OutlineView<T>& view) {
    const int64_t parts = std::max<int64_t>(1, std::min<int64_t>(threads_, scene_.vertices / 1024));
    parallel_for(threads_, parts, [&](int64_t part, int) {
      const int64_t low = scene_.vertices * part / parts, high = scene_.vertices * (part + 1) / parts;
      std::fill(view.turns + low, view.turns + high, 0);
      for (int64_t t = view.first; t < view.last; ++t) {
        count_turns(view, t, [&](int32_t vertex, int32_t turns) {
          if (vertex >= low && vertex < high) view.turns[vertex] += turns;
        });
      }
    });
  }

  CellLists fill(const OutlineView<T>& view, const CellGrid& grid) {
    begin_.clear();
    int32_t* begin = begin_.extend(static_cast<size_t>(grid.cells() + 1));
    std::fill_n(begin, grid.cells() + 1, 0);
    for (int64_t t = view.first; t < view.last; ++t) {
      grid.for_cells(view.boxes[t], [&](int64_t cell) { ++begin[cell]; });
    }
    int32_t total = 0;
    for (int64_t cell = 0; cell <= grid.cells(); ++cell) total += std::exchange(begin[cell], total);
    entries_.clear();
    int32_t* entries = entries_.extend(static_cast<size_t>(total) + EntryBoxes::lanes);  // looked at beyond the end
    for (int64_t t = view.first; t < view.last; ++t) {
      grid.for_cells(view.boxes[t], [&](int64_t cell) { entries[begin[cell]++] = static_cast<int32_t>(t); });
    }
    for (int64_t cell = grid.cells(); cell > 0; --cell) begin[cell] = begin[cell - 1];
    begin[0] = 0;
    return {grid, begin, entries};
  }

  void correct_centres(const OutlineView<T>& view, const CellGrid& grid, const EntryBoxes& scan, PieceLists& found) {
    std::vector<int32_t> pixels;
    for (const Array<int32_t>& list : found.checks) pixels.insert(pixels.end(), list.data(), list.data() + list.size());
    std::sort(pixels.begin(), pixels.end());
    pixels.erase(std::unique(pixels.begin(), pixels.end()), pixels.end());
    ListSink sink = found[static_cast<int64_t>(found.pieces.size()) - 1];
    for (const int32_t pixel : pixels) correct_centre(view, grid, scan, pixel, sink);
  }

  // The pieces of one pixel, in the order of the lists.
  Buffer<Piece> sorted_by_pixel(const std::vector<Array<Piece>>& lists) {
    std::vector<std::pair<int32_t, const Piece*>> order;
    for (const Array<Piece>& list : lists) {
      for (size_t i = 0; i < list.size(); ++i) order.emplace_back(list[i].pixel, &list[i]);
    }
    std::stable_sort(order.begin(), order.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    Buffer<Piece> sorted(order.size());
    for (size_t i = 0; i < order.size(); ++i) sorted[i] = *order[i].second;
    return sorted;
  }

  int64_t write(const OutlineView<T>& view, const Buffer<Piece>& pieces, const OutlineOutput<T>& out) {
    const auto count = static_cast<int64_t>(pieces.size());
    Buffer<RegionSide> sides(2 * pieces.size());
    const PixelRegions<T> regions = {view, pieces.data(), sides.data()};
    parallel_for(threads_, divide_up(count, pieces_per_task), [&](int64_t task, int) {
      // All pieces of the pixels that begin in the task's part.
      const int64_t last = std::min(count, (task + 1) * pieces_per_task);
      for (int64_t i = task * pieces_per_task; i < last; ++i) {
        if (i > 0 && pieces[i - 1].pixel == pieces[i].pixel) continue;
        int64_t end = i + 1;
        while (end < count && pieces[end].pixel == pieces[i].pixel) ++end;
        regions.find(i, end);
        for (int64_t j = i; j < std::min(end, out.capacity); ++j) write_piece(view, regions, 2 * i, j, out);
      }
    });
    for (int64_t i = count; i < out.capacity; ++i) out.clear(i);
    return count;
  }

  const int32_t threads_;
  const OutlineScene<T>& scene_;
  Buffer<PixelCorner> corners_;
  Buffer<ScreenPlace> places_;
  Buffer<uint8_t> facing_, edges_;
  Buffer<TriangleBox> boxes_;
  Buffer<int32_t> turns_;
  Array<int32_t> begin_, entries_;
};

}  // namespace
}  // namespace lg::surface

int32_t lg_outlines(lg_call* call, int32_t dtype, const void* pos, const int32_t* tri, const int64_t* ranges,
                    const int32_t* topology, const int32_t* frag_tri, int32_t shared_positions, int64_t views,
                    int64_t vertices, int64_t triangles, int64_t height, int64_t width, int32_t every_edge,
                    int64_t capacity, int64_t* count, int32_t* pixel, int32_t* sides, int32_t* line, int32_t* source,
                    void* place, void* weight, void* length) {
  return lg::dispatch(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    lg::check_ranges(ranges, views, triangles);
    lg::check_indices(tri, 0, triangles, vertices);
    const auto scene = lg::surface::make_outline_scene<T>(pos, tri, topology, frag_tri, ranges, shared_positions, views,
                                                          vertices, triangles, height, width, every_edge);
    const auto out = lg::surface::make_outline_output<T>(capacity, pixel, sides, line, source, place, weight, length);
    lg::surface::OutlineFinder<T> finder(call->threads, scene);
    for (int64_t i = 0; i < views; ++i) {
      count[i] = finder.find(scene.view(i), out.of_view(i));
    }
  });
}
