// Binning on CUDA: one sort of all primitives by depth, then a stable sort of pairs by tile.
//
// The number of (tile, primitive) pairs is known only on the device. They get a buffer of fixed size, for the nearest
// primitives, as many as fit. Compositing goes through the others tile by tile (see TileLists), so nothing is lost and
// nothing waits for the host. The whole buffer is sorted; unused entries have a key that comes last.
//
// Compiled without fused multiply-add: depths, and so the order, are those of the CPU bit for bit.
#include "splat/binning_cuda.h"

#include "splat/footprints.h"
#include "splat/scene.h"
#include "splat/shared_rows_cuda.h"

namespace lg {
namespace splat {
namespace {

// Room for pairs: this many per primitive up to `ample_room`, fewer for more primitives. Each keeps 4 bytes and needs
// 12 for sorting.
#if defined(LG_CUDA_EMULATED)
constexpr int64_t min_room = 1000, ample_room = 0, ample_per_item = 0,
                  room_per_item = 3;  // so that tests exceed it
#else
constexpr int64_t min_room = int64_t{1} << 16, ample_room = int64_t{1} << 22, ample_per_item = 32, room_per_item = 8;
#endif
constexpr int64_t max_room = 0x7fffffff;
constexpr int64_t pairs_per_warp = 512;    // that a warp lists at a time
constexpr uint32_t no_tile = 0xffffffffu;  // sorted after all tiles
constexpr int64_t bound_words = 8;
static_assert(sizeof(Bound) == 4 * bound_words, "bounds are kept among words");

int64_t room_for(int64_t items, int64_t tiles) {
  const int64_t ample = std::min(ample_room, ample_per_item * items);
  const int64_t room = std::max({min_room, ample, room_per_item * items});
  return std::min({max_room, room, items * tiles});
}

int bits_of(int64_t numbers) {
  int bits = 1;
  while (bits < 32 && int64_t{1} << bits < numbers) ++bits;
  return bits;
}

struct Placing {
  Bound* bounds;
  uint32_t *keys, *items, *tile_counts, *max_opacity;
};

// Bounds, depths and numbers of tiles.
template <class T, class Footprint>
__global__ void __launch_bounds__(items_per_block)
    place_primitives(const __grid_constant__ Scene<T> scene, Placing out) {
  const int width = static_cast<int>(scene.tiles.width), height = static_cast<int>(scene.tiles.height);
  const int64_t lane = lane_id(), items = scene.tiles.views * scene.primitives;
  for (int64_t first = first_item() - lane; first < items; first += item_step()) {
    const int64_t i = first + lane;
    Bound bound{};
    float depth = 0;
    bool seen = false;
    if (i < items) {
      const int64_t v = i / scene.primitives, p = i - v * scene.primitives;
      seen = Primitives<T, Footprint>::bound(scene, scene.camera(v), v, p, &bound, &depth) && depth - depth == 0;
      const auto opacity = static_cast<float>(*scene.opacities.at(v, p));
      if (seen && opacity > 1) atomic_max(out.max_opacity, float_bits(opacity));
    }
    const uint32_t tiles = SharedRows(bound, seen, width, height).tiles();
    if (i >= items) continue;
    out.bounds[i] = bound;
    out.keys[i] = tiles ? depth_key(depth) : hidden_key;
    out.items[i] = static_cast<uint32_t>(i);
    out.tile_counts[i] = tiles;
  }
}

// The number of pairs of each rank, and the items of the ranks as the tiles read them.
__global__ void __launch_bounds__(items_per_block)
    count_pairs(const uint32_t* items, const uint32_t* tile_counts, int64_t count, uint64_t* pairs, uint32_t* drawn) {
  for (int64_t rank = first_item(); rank < count; rank += item_step()) {
    const uint32_t item = items[rank], tiles = tile_counts[item];
    pairs[rank] = tiles;
    drawn[rank] = tiles ? item : TileLists::no_item;
  }
}

struct Listing {
  const Bound* bounds;
  const uint32_t *items, *tile_counts;
  const uint64_t* pairs_before;  // [ranks]
  uint32_t *tiles, *entries;     // out: the pairs
  uint32_t* number;              // out: TileLists::listed and TileLists::pairs
  int64_t count, room, primitives, across, per_view;
  int width, height;

  LG_DEVICE int64_t before(int64_t rank) const { return static_cast<int64_t>(pairs_before[rank]); }
};

// The last rank that has at most `place` pairs before it. Called by all lanes of a warp, which test 32 ranks at a time.
LG_DEVICE int64_t rank_at(const Listing& listing, int64_t place) {
  int64_t first = 0;
  for (int64_t count = listing.count; count > 1;) {
    const int64_t step = divide_up(count, int64_t{warp_size}), mine = step * lane_id();
    const uint32_t reached = warp_ballot(mine < count && listing.before(first + mine) <= place);
    const int64_t last = step * highest_bit(reached | 1u);
    first += last;
    count = step < count - last ? step : count - last;
  }
  return first;
}

// What fits: the first ranks, and their number of pairs.
struct Fitting {
  int64_t ranks, pairs;

  LG_DEVICE Fitting(const Listing& listing) {
    ranks = listing.count;
    pairs = listing.before(ranks - 1) + listing.tile_counts[listing.items[ranks - 1]];
    if (pairs <= listing.room) return;
    ranks = rank_at(listing, listing.room);
    pairs = listing.before(ranks);
  }
};

// Lists the pairs of 32 rows of tiles, of which the first is at `place`, as far as they lie in [begin, end). Returns
// the number of pairs in these rows.
LG_DEVICE int64_t list_rows(const Listing& listing, const SharedRows::Row& row, uint32_t item, int64_t first_tile,
                            int64_t place, int64_t begin, int64_t end) {
  const int64_t running = running_sum(static_cast<int64_t>(row.tiles)), count = warp_shuffle(running, warp_size - 1);
  const int64_t tile = first_tile + row.row * listing.across + row.first - (running - row.tiles);
  const int64_t from = begin > place ? begin - place : 0, to = end - place < count ? end - place : count;
  for (int64_t base = from; base < to; base += warp_size) {
    const int64_t pair = base + lane_id();
    const unsigned owner = lane_with(running, pair);
    const auto of_tile = static_cast<uint32_t>(warp_shuffle(tile, owner) + pair);
    const uint32_t of_item = warp_shuffle(item, owner);
    if (pair >= to) continue;
    listing.tiles[place + pair] = of_tile;
    listing.entries[place + pair] = of_item;
  }
  return count;
}

// The pairs [begin, end), listed by a warp rank by rank and row by row.
LG_DEVICE void list_stretch(const Listing& listing, int64_t begin, int64_t end) {
  int64_t first = rank_at(listing, begin), place = listing.before(first);
  for (; place < end && first < listing.count; first += warp_size) {
    const int64_t rank = first + lane_id();
    const uint32_t item = rank < listing.count ? listing.items[rank] : 0;
    const bool there = rank < listing.count && listing.tile_counts[item] > 0;
    const SharedRows rows(there ? listing.bounds[item] : Bound{}, there, listing.width, listing.height);
    const int64_t first_tile = item / listing.primitives * listing.per_view, count = rows.count();
    for (int64_t base = 0; base < count && place < end; base += warp_size) {
      const SharedRows::Row row = rows.at(base + lane_id());
      place += list_rows(listing, row, warp_shuffle(item, row.owner), warp_shuffle(first_tile, row.owner), place, begin,
                         end);
    }
  }
}

// Each warp lists a range of pairs instead of a range of ranks, because the nearest primitives, which may be large, are
// consecutive. Unused room gets a tile that comes last.
__global__ void __launch_bounds__(items_per_block) list_pairs(const __grid_constant__ Listing listing) {
  const Fitting fitting(listing);
  if (first_item() == 0) {
    listing.number[TileLists::listed] = static_cast<uint32_t>(fitting.ranks);
    listing.number[TileLists::pairs] = static_cast<uint32_t>(fitting.pairs);
  }
  const int64_t warp = first_item() / warp_size, warps = item_step() / warp_size;
  for (int64_t begin = warp * pairs_per_warp; begin < listing.room; begin += warps * pairs_per_warp) {
    const int64_t end = begin + pairs_per_warp < listing.room ? begin + pairs_per_warp : listing.room;
    const int64_t used = fitting.pairs < begin ? begin : fitting.pairs < end ? fitting.pairs : end;
    if (begin < used) list_stretch(listing, begin, used);
    for (int64_t place = used + lane_id(); place < end; place += warp_size) listing.tiles[place] = no_tile;
  }
}

// The start and end of each tile's list in the sorted pairs, whose items are moved to their final place.
__global__ void __launch_bounds__(items_per_block)
    find_ranges(const uint32_t* tiles, const uint32_t* sorted, const TileLists lists) {
  const int64_t pairs = lists.number[TileLists::pairs];
  for (int64_t i = first_item(); i < pairs; i += item_step()) {
    const uint32_t tile = tiles[i];
    if (i == 0 || tiles[i - 1] != tile) lists.begin[tile] = static_cast<uint32_t>(i);
    if (i == pairs - 1 || tiles[i + 1] != tile) lists.end[tile] = static_cast<uint32_t>(i + 1);
    if (sorted != lists.entries) lists.entries[i] = sorted[i];
  }
}

}  // namespace

// The sizes are those of `last` in ops/splat/_compositing.py.
TileLists::TileLists(const int32_t* last, int64_t item_count, const Tiles& image) {
  across = divide_up(image.width, cuda_tile);
  per_view = across * divide_up(image.height, cuda_tile);
  tiles = image.views * per_view;
  count = item_count;
  room = room_for(count, per_view);
  // The backward pass, for which the memory is constant, does not write.
  auto* next = reinterpret_cast<uint32_t*>(const_cast<int32_t*>(last)) + image.views * image.height * image.width;
  const auto take = [&next](int64_t length) {
    uint32_t* taken = next;
    next += length;
    return taken;
  };
  bounds = reinterpret_cast<Bound*>(take(bound_words * count));
  items = take(count);
  begin = take(tiles);
  end = take(tiles);
  number = take(numbers);
  entries = take(room);
}

BinningPass::BinningPass(const TileLists& lists, const Tiles& image)
    : lists_(lists),
      height_(image.height),
      width_(image.width),
      by_depth_(lists.count, 32),
      by_tile_(lists.room, bits_of(lists.tiles)),
      pairs_before_(lists.count) {}

void BinningPass::plan(Workspace& workspace) {
  tile_counts_ = workspace.take<uint32_t>(lists_.count);
  by_depth_.plan(workspace);
  pairs_before_.plan(workspace);
  by_tile_.plan(workspace, lists_.entries);
}

template <class T>
void BinningPass::run(Queue& queue, const Scene<T>& scene, int32_t footprint) {
  queue.fill_bytes(lists_.number, 0, TileLists::numbers * static_cast<int64_t>(sizeof *lists_.number));
  queue.fill_bytes(lists_.begin, 0, lists_.tiles * static_cast<int64_t>(sizeof *lists_.begin));
  queue.fill_bytes(lists_.end, 0, lists_.tiles * static_cast<int64_t>(sizeof *lists_.end));
  with_footprint<T>(footprint, [&](auto shape) {
    using Footprint = typename decltype(shape)::type;
    const Placing out = {lists_.bounds, by_depth_.keys(), by_depth_.values(), tile_counts_,
                         lists_.number + TileLists::max_opacity};
    queue.launch_items(place_primitives<T, Footprint>, lists_.count, scene, out);
  });
  by_depth_.run(queue);
  list_all(queue, scene.primitives);
}

// Converts ranks to the lists of tiles.
void BinningPass::list_all(Queue& queue, int64_t primitives) {
  const uint32_t* items = by_depth_.values();
  queue.launch_items(count_pairs, lists_.count, items, tile_counts_, lists_.count, pairs_before_.numbers(),
                     lists_.items);
  pairs_before_.run(queue);
  const Listing listing = {lists_.bounds,
                           items,
                           tile_counts_,
                           pairs_before_.numbers(),
                           by_tile_.keys(),
                           by_tile_.values(),
                           lists_.number,
                           lists_.count,
                           lists_.room,
                           primitives,
                           lists_.across,
                           lists_.per_view,
                           static_cast<int>(width_),
                           static_cast<int>(height_)};
  queue.launch_items(list_pairs, warp_size * divide_up(lists_.room, pairs_per_warp), listing);
  by_tile_.run(queue);
  // Usually there are far fewer pairs than room, so no more threads than can run at a time.
  const int64_t threads = std::min(lists_.room, 8 * items_per_block * multiprocessors());
  queue.launch_items(find_ranges, threads, by_tile_.keys(), by_tile_.values(), lists_);
}

template void BinningPass::run<float>(Queue&, const Scene<float>&, int32_t);
template void BinningPass::run<double>(Queue&, const Scene<double>&, int32_t);

}  // namespace splat
}  // namespace lg
