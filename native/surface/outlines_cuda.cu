// outlines on CUDA: one thread per triangle. Triangles are counted into the cells of a grid whose size the device
// chooses, so that nothing has to be read back. Pieces are counted, numbered by a running sum, and found again to be
// written in the order of the triangles, whatever the order in which threads run.
#include "parallel/for_each.h"
#include "runtime/cuda/algorithms.h"
#include "surface/coverage.h"
#include "surface/outline_scene.h"

namespace lg::surface {
namespace {

// ---- Preparation ---------------------------------------------------------------------------------------------

template <class T>
struct FindCorner {
  OutlineView<T> view;
  LG_HD void operator()(int64_t vertex) const { find_corner(view, vertex); }
};

template <class T>
__global__ void __launch_bounds__(items_per_block)
    find_triangles(const __grid_constant__ OutlineView<T> view, uint64_t* entries) {
  for (int64_t t = first_item(); t < view.triangles; t += item_step()) {
    find_triangle(view, t);
    if (view.boxes[t].empty()) continue;
    int64_t count[shifts] = {};
    count_entries(view.boxes[t], view.width, view.height, count);
    for (int i = 0; i < shifts; ++i) atomic_add(entries + i, static_cast<uint64_t>(count[i]));
  }
}

template <class T>
struct FindOutlines {
  OutlineView<T> view;
  LG_HD void operator()(int64_t t) const { view.edges[t] = outlines_of(view, t); }
};

template <class T>
__global__ void __launch_bounds__(items_per_block) find_turns(const __grid_constant__ OutlineView<T> view) {
  for (int64_t t = view.first + first_item(); t < view.last; t += item_step()) {
    count_turns(view, t, [&](int32_t vertex, int32_t turns) {
      if (turns != 0) atomic_add(reinterpret_cast<uint32_t*>(view.turns) + vertex, static_cast<uint32_t>(turns));
    });
  }
}

// ---- Lists of the cells ----------------------------------------------------------------------------------------

// The lists under construction. Only the device knows the number of cells.
struct DeviceLists {
  CellGrid* grid;
  uint64_t* numbers;  // [most_cells + 1]: entries of each cell, then their running sum
  int32_t *begin, *entries, *filled;

  LG_DEVICE CellLists lists() const { return {*grid, begin, entries}; }
};

template <class T>
struct ChooseGrid {
  OutlineView<T> view;
  const uint64_t* entries;
  CellGrid* grid;

  LG_HD void operator()(int64_t) const {
    int64_t count[shifts];
    for (int i = 0; i < shifts; ++i) count[i] = static_cast<int64_t>(entries[i]);
    *grid = choose_grid(view.width, view.height, view.triangles, count);
  }
};

template <class T>
__global__ void __launch_bounds__(items_per_block)
    count_cells(const __grid_constant__ OutlineView<T> view, const __grid_constant__ DeviceLists lists) {
  const CellGrid grid = *lists.grid;
  for (int64_t t = first_item(); t < view.triangles; t += item_step()) {
    grid.for_cells(view.boxes[t], [&](int64_t cell) { atomic_add(lists.numbers + cell, uint64_t{1}); });
  }
}

struct NarrowNumbers {
  DeviceLists lists;
  LG_HD void operator()(int64_t i) const { lists.begin[i] = static_cast<int32_t>(lists.numbers[i]); }
};

template <class T>
__global__ void __launch_bounds__(items_per_block)
    fill_cells(const __grid_constant__ OutlineView<T> view, const __grid_constant__ DeviceLists lists) {
  const CellGrid grid = *lists.grid;
  for (int64_t t = first_item(); t < view.triangles; t += item_step()) {
    grid.for_cells(view.boxes[t], [&](int64_t cell) {
      const uint32_t place = atomic_add(reinterpret_cast<uint32_t*>(lists.filled) + cell, 1u);
      lists.entries[lists.begin[cell] + static_cast<int32_t>(place)] = static_cast<int32_t>(t);
    });
  }
}

// Heapsort, because it needs no extra memory and has no slow case. Results must not depend on the order of arrival.
LG_HD void sink_down(int32_t* values, int64_t root, int64_t count) {
  for (int64_t child = 2 * root + 1; child < count; child = 2 * root + 1) {
    if (child + 1 < count && values[child + 1] > values[child]) ++child;
    if (values[root] >= values[child]) return;
    const int32_t kept = values[root];
    values[root] = values[child];
    values[child] = kept;
    root = child;
  }
}

struct SortCells {
  DeviceLists lists;

  LG_HD void operator()(int64_t cell) const {
    if (cell >= lists.grid->cells()) return;
    int32_t* values = lists.entries + lists.begin[cell];
    const int64_t count = lists.begin[cell + 1] - lists.begin[cell];
    for (int64_t root = count / 2; root-- > 0;) sink_down(values, root, count);
    for (int64_t end = count - 1; end > 0; --end) {
      const int32_t largest = values[0];
      values[0] = values[end];
      values[end] = largest;
      sink_down(values, 0, end);
    }
  }
};

// ---- Pieces ------------------------------------------------------------------------------------------------------

struct CountPieces {
  uint64_t count;
  uint32_t* checks;  // one bit per pixel

  LG_DEVICE void add(const Piece&) { ++count; }
  LG_DEVICE void check(int32_t pixel) { atomic_or(checks + pixel / 32, 1u << (pixel % 32)); }
};

struct WritePieces {
  Piece* pieces;
  uint32_t *keys, *values;
  int64_t at, capacity;

  LG_DEVICE void add(const Piece& piece) {
    if (at < capacity) {
      pieces[at] = piece;
      keys[at] = static_cast<uint32_t>(piece.pixel);
      values[at] = static_cast<uint32_t>(at);
    }
    ++at;
  }
  LG_DEVICE void check(int32_t) {}
};

template <class T, class Sink>
LG_DEVICE void find_pieces(const OutlineView<T>& view, const CellLists& lists, int64_t t, Sink& sink) {
  const ScanEntries<T> scan = {view, lists};
  OutlineWalk<T, ScanEntries<T>, Sink> walk(view, lists.grid, scan, sink);
  follow_borders(view, t, walk);
  follow_crossings(view, lists.grid, t, scan, walk);
}

template <class T, class Sink>
LG_DEVICE void find_corrections(const OutlineView<T>& view, const CellLists& lists, uint32_t checks, int64_t word,
                                Sink& sink) {
  const ScanEntries<T> scan = {view, lists};
  for (int bit = 0; bit < 32; ++bit) {
    if (checks >> bit & 1) correct_centre(view, lists.grid, scan, static_cast<int32_t>(32 * word + bit), sink);
  }
}

// One item per triangle, then one per word of `checks`.
struct PieceNumbers {
  uint64_t* first;  // of each item: its number of pieces, then their running sum, with the total at the end
  uint32_t* checks;
  int64_t triangles, words;
};

template <class T>
__global__ void __launch_bounds__(items_per_block)
    count_triangles(const __grid_constant__ OutlineView<T> view, const __grid_constant__ DeviceLists lists,
                    const __grid_constant__ PieceNumbers numbers) {
  for (int64_t t = first_item(); t < view.triangles; t += item_step()) {
    CountPieces sink = {0, numbers.checks};
    find_pieces(view, lists.lists(), t, sink);
    numbers.first[t] = sink.count;
  }
}

template <class T>
__global__ void __launch_bounds__(items_per_block)
    count_corrections(const __grid_constant__ OutlineView<T> view, const __grid_constant__ DeviceLists lists,
                      const __grid_constant__ PieceNumbers numbers) {
  for (int64_t word = first_item(); word < numbers.words; word += item_step()) {
    CountPieces sink = {0, nullptr};
    find_corrections(view, lists.lists(), numbers.checks[word], word, sink);
    numbers.first[numbers.triangles + word] = sink.count;
  }
}

template <class T>
__global__ void __launch_bounds__(items_per_block)
    write_pieces(const __grid_constant__ OutlineView<T> view, const __grid_constant__ DeviceLists lists,
                 const __grid_constant__ PieceNumbers numbers, const __grid_constant__ WritePieces all) {
  const CellLists of_cells = lists.lists();
  for (int64_t item = first_item(); item < numbers.triangles + numbers.words; item += item_step()) {
    if (numbers.first[item + 1] == numbers.first[item]) continue;
    WritePieces sink = all;
    sink.at = static_cast<int64_t>(numbers.first[item]);
    const int64_t word = item - numbers.triangles;
    if (word < 0) {
      find_pieces(view, of_cells, item, sink);
    } else {
      find_corrections(view, of_cells, numbers.checks[word], word, sink);
    }
  }
}

// ---- Rows of the outputs -------------------------------------------------------------------------------------------

constexpr uint32_t no_pixel = ~0u;

struct ClearKeys {
  uint32_t *keys, *values;
  LG_HD void operator()(int64_t i) const {
    keys[i] = no_pixel;
    values[i] = static_cast<uint32_t>(i);
  }
};

// Pieces in the order of their pixels.
struct GatherPieces {
  const Piece* from;
  const uint32_t *keys, *values;
  Piece* to;
  LG_HD void operator()(int64_t i) const {
    if (keys[i] != no_pixel) to[i] = from[values[i]];
  }
};

// The first piece of a pixel writes the rows of all its pieces.
template <class T>
struct WriteRows {
  OutlineView<T> view;
  const uint32_t* keys;
  const Piece* pieces;
  RegionSide* sides;
  OutlineOutput<T> out;

  LG_HD void operator()(int64_t i) const {
    const uint32_t pixel = keys[i];
    if (pixel == no_pixel) out.clear(i);
    if (pixel == no_pixel || (i > 0 && keys[i - 1] == pixel)) return;
    int64_t end = i + 1;
    while (end < out.capacity && keys[end] == pixel) ++end;
    const PixelRegions<T> regions = {view, pieces, sides};
    regions.find(i, end);
    for (int64_t j = i; j < end; ++j) write_piece(view, regions, 2 * i, j, out);
  }
};

struct ReportCount {
  PieceNumbers numbers;
  int64_t* count;
  LG_HD void operator()(int64_t) const {
    *count = static_cast<int64_t>(numbers.first[numbers.triangles + numbers.words]);
  }
};

// ---- The op --------------------------------------------------------------------------------------------------------

template <class T>
struct FindAllOutlines {
  OutlineScene<T> scene;
  OutlineOutput<T> out;  // of the first view
  int64_t* count;
  RunningSum cell_sum, piece_sum;
  OutlineView<T> buffers = {};
  uint64_t* entry_counts = nullptr;
  DeviceLists lists = {};
  PieceNumbers numbers = {};
  PairSort by_pixel;
  Piece *pieces = nullptr, *sorted = nullptr;
  RegionSide* sides = nullptr;

  FindAllOutlines(const OutlineScene<T>& s, const OutlineOutput<T>& o, int64_t* c)
      : scene(s),
        out(o),
        count(c),
        cell_sum(most_cells(s.triangles) + 1),
        piece_sum(s.triangles + words() + 1),
        by_pixel(o.capacity, 32) {}

  int64_t words() const { return divide_up(scene.image.height * scene.image.width, 32); }

  void plan(Workspace& workspace) {
    const int64_t triangles = scene.triangles, vertices = scene.vertices;
    buffers.corners = workspace.take<PixelCorner>(vertices);
    buffers.places = workspace.take<ScreenPlace>(vertices);
    buffers.turns = workspace.take<int32_t>(vertices);
    buffers.facing = workspace.take<uint8_t>(triangles);
    buffers.edges = workspace.take<uint8_t>(triangles);
    buffers.boxes = workspace.take<TriangleBox>(triangles);
    entry_counts = workspace.take<uint64_t>(shifts);
    lists.grid = workspace.take<CellGrid>(1);
    lists.begin = workspace.take<int32_t>(most_cells(triangles) + 1);
    lists.filled = workspace.take<int32_t>(most_cells(triangles));
    lists.entries = workspace.take<int32_t>(most_entries(triangles));
    numbers = {nullptr, workspace.take<uint32_t>(words()), triangles, words()};
    pieces = workspace.take<Piece>(out.capacity);
    sorted = workspace.take<Piece>(out.capacity);
    sides = workspace.take<RegionSide>(2 * out.capacity);
    by_pixel.plan(workspace);
    cell_sum.plan(workspace);
    piece_sum.plan(workspace);
    lists.numbers = cell_sum.numbers();
    numbers.first = piece_sum.numbers();
  }

  void run(Queue& queue) {
    for (int64_t i = 0; i < scene.image.views; ++i) {
      OutlineView<T> view = scene.view(i);
      view.corners = buffers.corners, view.places = buffers.places, view.turns = buffers.turns;
      view.facing = buffers.facing, view.edges = buffers.edges, view.boxes = buffers.boxes;
      prepare(queue, view);
      fill(queue, view);
      write(queue, view, out.of_view(i), count + i);
    }
  }

 private:
  void prepare(Queue& queue, const OutlineView<T>& view) {
    queue.fill_bytes(entry_counts, 0, 8 * shifts);
    queue.fill_bytes(view.turns, 0, 4 * view.vertices);
    for_each(queue, view.vertices, FindCorner<T>{view});
    queue.launch_items(find_triangles<T>, view.triangles, view, entry_counts);
    for_each(queue, view.triangles, FindOutlines<T>{view});
    queue.launch_items(find_turns<T>, view.last - view.first, view);
  }

  void fill(Queue& queue, const OutlineView<T>& view) {
    const int64_t cells = most_cells(view.triangles);
    queue.fill_bytes(lists.numbers, 0, 8 * (cells + 1));
    queue.fill_bytes(lists.filled, 0, 4 * cells);
    for_each(queue, 1, ChooseGrid<T>{view, entry_counts, lists.grid});
    queue.launch_items(count_cells<T>, view.triangles, view, lists);
    cell_sum.run(queue);
    for_each(queue, cells + 1, NarrowNumbers{lists});
    queue.launch_items(fill_cells<T>, view.triangles, view, lists);
    for_each(queue, cells, SortCells{lists});
  }

  void write(Queue& queue, const OutlineView<T>& view, const OutlineOutput<T>& rows, int64_t* total) {
    queue.fill_bytes(numbers.checks, 0, 4 * numbers.words);
    queue.fill_bytes(numbers.first, 0, 8 * (numbers.triangles + numbers.words + 1));
    queue.launch_items(count_triangles<T>, view.triangles, view, lists, numbers);
    queue.launch_items(count_corrections<T>, numbers.words, view, lists, numbers);
    piece_sum.run(queue);
    for_each(queue, 1, ReportCount{numbers, total});
    if (rows.capacity == 0) return;
    for_each(queue, rows.capacity, ClearKeys{by_pixel.keys(), by_pixel.values()});
    const WritePieces all = {pieces, by_pixel.keys(), by_pixel.values(), 0, rows.capacity};
    queue.launch_items(write_pieces<T>, numbers.triangles + numbers.words, view, lists, numbers, all);
    by_pixel.run(queue);
    for_each(queue, rows.capacity, GatherPieces{pieces, by_pixel.keys(), by_pixel.values(), sorted});
    for_each(queue, rows.capacity, WriteRows<T>{view, by_pixel.keys(), sorted, sides, rows});
  }
};

}  // namespace
}  // namespace lg::surface

int32_t lg_outlines(lg_call* call, int32_t dtype, const void* pos, const int32_t* tri, const int64_t* ranges,
                    const int32_t* topology, const int32_t* frag_tri, int32_t shared_positions, int64_t views,
                    int64_t vertices, int64_t triangles, int64_t height, int64_t width, int32_t every_edge,
                    int64_t capacity, int64_t* count, int32_t* pixel, int32_t* sides, int32_t* line, int32_t* source,
                    void* place, void* weight, void* length) {
  const int32_t status = lg::reject_views(ranges, views, triangles, height, width, lg::surface::max_resolution);
  if (status != LG_OK) return status;
  return lg::dispatch_scalar(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const auto scene = lg::surface::make_outline_scene<T>(pos, tri, topology, frag_tri, ranges, shared_positions, views,
                                                          vertices, triangles, height, width, every_edge);
    const auto out = lg::surface::make_outline_output<T>(capacity, pixel, sides, line, source, place, weight, length);
    return lg::run_op(call, lg::surface::FindAllOutlines<T>(scene, out, count));
  });
}
