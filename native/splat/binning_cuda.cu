// Binning on CUDA: one sort of all primitives by depth, then a stable sort of pairs by tile.
//
// How many pairs of tile and primitive there are only the device knows. They get a workspace of fixed size: those of
// the nearest primitives, as many as fit. Compositing goes through the rest tile by tile (see TileLists); so nothing is
// lost, and nobody waits for the host. All of the room is sorted; what is not used of it has a key that comes last.
//
// Compiled without fused multiply-add: depths, and so the order, are those of the CPU bit for bit.
#include "splat/binning_cuda.h"

#include "splat/footprints.h"
#include "splat/scene.h"
#include "splat/shared_rows_cuda.h"

namespace lg {
namespace splat {
namespace {

// Room for pairs: so many per primitive, up to `ample_room`; for more primitives fewer. 16 bytes each.
#if defined(LG_CUDA_EMULATED)
constexpr int64_t min_room = 1000, ample_room = 0, ample_per_item = 0,
                  room_per_item = 3;  // so that tests meet full lists
#else
constexpr int64_t min_room = int64_t{1} << 16, ample_room = int64_t{1} << 22, ample_per_item = 32, room_per_item = 8;
#endif
constexpr int64_t max_room = 0x7fffffff;
constexpr int64_t pairs_per_warp = 512;    // that a warp lists at a time
constexpr uint32_t no_tile = 0xffffffffu;  // sorted behind all tiles

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

__global__ void __launch_bounds__(items_per_block)
    count_pairs(const uint32_t* items, const uint32_t* tile_counts, int64_t count, uint64_t* pairs) {
  for (int64_t rank = first_item(); rank < count; rank += item_step()) pairs[rank] = tile_counts[items[rank]];
}

struct Listing {
  const Bound* bounds;
  const uint32_t *items, *tile_counts;
  const uint64_t* pairs_before;  // [ranks]
  uint32_t *tiles, *ranks;       // out: the pairs
  uint32_t *listed, *pairs;      // out: how many ranks they are of, and how many they are
  int64_t count, room, primitives, across, per_view;
  int width, height;

  LG_DEVICE int64_t before(int64_t rank) const { return static_cast<int64_t>(pairs_before[rank]); }
};

// The last rank with no more than `place` pairs before it. Called by all lanes of a warp, which ask 32 ranks at a time.
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

// What there is room for: the first so many ranks, with so many pairs.
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

// The pairs of 32 rows of tiles, of which the first is at `place`; those at [begin, end) are to be listed. Returns how
// many pairs these rows have.
LG_DEVICE int64_t list_rows(const Listing& listing, const SharedRows::Row& row, int64_t rank, int64_t first_tile,
                            int64_t place, int64_t begin, int64_t end) {
  const int64_t running = running_sum(static_cast<int64_t>(row.tiles)), count = warp_shuffle(running, warp_size - 1);
  const int64_t tile = first_tile + row.row * listing.across + row.first - (running - row.tiles);
  const int64_t from = begin > place ? begin - place : 0, to = end - place < count ? end - place : count;
  for (int64_t base = from; base < to; base += warp_size) {
    const int64_t pair = base + lane_id();
    const unsigned owner = lane_with(running, pair);
    const auto of_tile = static_cast<uint32_t>(warp_shuffle(tile, owner) + pair);
    const auto of_rank = static_cast<uint32_t>(warp_shuffle(rank, owner));
    if (pair >= to) continue;
    listing.tiles[place + pair] = of_tile;
    listing.ranks[place + pair] = of_rank;
  }
  return count;
}

// The pairs at [begin, end), by a warp: rank by rank, row by row.
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
      place += list_rows(listing, row, first + row.owner, warp_shuffle(first_tile, row.owner), place, begin, end);
    }
  }
}

// Each warp lists a stretch of pairs, and not the pairs of some ranks: the nearest primitives, which may be large, are
// next to one another. What is not used of the room has a tile that comes last.
__global__ void __launch_bounds__(items_per_block) list_pairs(const __grid_constant__ Listing listing) {
  const Fitting fitting(listing);
  if (first_item() == 0) {
    *listing.listed = static_cast<uint32_t>(fitting.ranks);
    *listing.pairs = static_cast<uint32_t>(fitting.pairs);
  }
  const int64_t warp = first_item() / warp_size, warps = item_step() / warp_size;
  for (int64_t begin = warp * pairs_per_warp; begin < listing.room; begin += warps * pairs_per_warp) {
    const int64_t end = begin + pairs_per_warp < listing.room ? begin + pairs_per_warp : listing.room;
    const int64_t used = fitting.pairs < begin ? begin : fitting.pairs < end ? fitting.pairs : end;
    if (begin < used) list_stretch(listing, begin, used);
    for (int64_t place = used + lane_id(); place < end; place += warp_size) listing.tiles[place] = no_tile;
  }
}

__global__ void __launch_bounds__(items_per_block)
    find_ranges(const uint32_t* tiles, const uint32_t* count, uint32_t* begin, uint32_t* end) {
  const int64_t pairs = *count;
  for (int64_t i = first_item(); i < pairs; i += item_step()) {
    const uint32_t tile = tiles[i];
    if (i == 0 || tiles[i - 1] != tile) begin[tile] = static_cast<uint32_t>(i);
    if (i == pairs - 1 || tiles[i + 1] != tile) end[tile] = static_cast<uint32_t>(i + 1);
  }
}

}  // namespace

BinningPass::BinningPass(int64_t items, const Tiles& image)
    : items_(items),
      views_(image.views),
      height_(image.height),
      width_(image.width),
      across_(divide_up(image.width, cuda_tile)),
      by_depth_(items, 32),
      by_tile_(room_for(items, per_view()), bits_of(tiles())),
      pairs_before_(items) {}

void BinningPass::plan(Workspace& workspace) {
  bounds_ = workspace.take<Bound>(items_);
  tile_counts_ = workspace.take<uint32_t>(items_);
  numbers_ = workspace.take<uint32_t>(3);
  begin_ = workspace.take<uint32_t>(tiles());
  end_ = workspace.take<uint32_t>(tiles());
  by_depth_.plan(workspace);
  pairs_before_.plan(workspace);
  by_tile_.plan(workspace);
}

template <class T>
TileLists BinningPass::run(Queue& queue, const Scene<T>& scene, int32_t footprint) {
  queue.fill_bytes(numbers_, 0, 3 * sizeof *numbers_);
  queue.fill_bytes(begin_, 0, tiles() * static_cast<int64_t>(sizeof *begin_));
  queue.fill_bytes(end_, 0, tiles() * static_cast<int64_t>(sizeof *end_));
  with_footprint<T>(footprint, [&](auto shape) {
    using Footprint = typename decltype(shape)::type;
    const Placing out = {bounds_, by_depth_.keys(), by_depth_.values(), tile_counts_, numbers_ + 2};
    queue.launch_items(place_primitives<T, Footprint>, items_, scene, out);
  });
  by_depth_.run(queue);
  list_all(queue, scene.primitives);
  return {bounds_, by_depth_.keys(), by_depth_.values(), by_tile_.values(), begin_, end_, numbers_, numbers_ + 2,
          items_,  across_,          per_view()};
}

// From ranks to the lists of tiles.
void BinningPass::list_all(Queue& queue, int64_t primitives) {
  const uint32_t* items = by_depth_.values();
  queue.launch_items(count_pairs, items_, items, tile_counts_, items_, pairs_before_.numbers());
  pairs_before_.run(queue);
  const Listing listing = {bounds_,
                           items,
                           tile_counts_,
                           pairs_before_.numbers(),
                           by_tile_.keys(),
                           by_tile_.values(),
                           numbers_,
                           numbers_ + 1,
                           items_,
                           by_tile_.count(),
                           primitives,
                           across_,
                           per_view(),
                           static_cast<int>(width_),
                           static_cast<int>(height_)};
  queue.launch_items(list_pairs, warp_size * divide_up(by_tile_.count(), pairs_per_warp), listing);
  by_tile_.run(queue);
  // Mostly far fewer pairs than there is room for: no more threads than run at a time.
  const int64_t threads = std::min(by_tile_.count(), 8 * items_per_block * multiprocessors());
  queue.launch_items(find_ranges, threads, by_tile_.keys(), numbers_ + 1, begin_, end_);
}

template TileLists BinningPass::run<float>(Queue&, const Scene<float>&, int32_t);
template TileLists BinningPass::run<double>(Queue&, const Scene<double>&, int32_t);

}  // namespace splat
}  // namespace lg
