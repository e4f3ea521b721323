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
constexpr uint32_t few_tiles = 32;  // that a thread lists by itself

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
  for (int64_t i = first_item(); i < scene.tiles.views * scene.primitives; i += item_step()) {
    const int64_t v = i / scene.primitives, p = i - v * scene.primitives;
    Bound bound{};
    float depth = 0;
    const bool seen =
        Primitives<T, Footprint>::bound(scene, scene.camera(v), v, p, &bound, &depth) && depth - depth == 0;
    uint32_t tiles = 0;
    if (seen) {
      TileRows<cuda_tile> rows(bound, width, height);
      for (int first, last; rows.next(&first, &last);) tiles += static_cast<uint32_t>(last - first + 1);
      const auto opacity = static_cast<float>(*scene.opacities.at(v, p));
      if (opacity > 1) atomic_max(out.max_opacity, float_bits(opacity));
    }
    out.bounds[i] = bound;
    out.keys[i] = tiles ? depth_key(depth) : hidden_key;
    out.items[i] = static_cast<uint32_t>(i);
    out.tile_counts[i] = tiles;
  }
}

struct Listing {
  const Bound* bounds;
  const uint32_t *items, *tile_counts;
  const uint64_t* pairs_before;  // [ranks]
  uint32_t *tiles, *ranks;       // out: the pairs
  uint32_t *listed, *pairs;      // out: how many ranks they are of, and how many they are
  int64_t count, room, primitives, across, per_view;
  int width, height;
};

__global__ void __launch_bounds__(items_per_block)
    count_pairs(const uint32_t* items, const uint32_t* tile_counts, int64_t count, uint64_t* pairs) {
  for (int64_t rank = first_item(); rank < count; rank += item_step()) pairs[rank] = tile_counts[items[rank]];
}

// The pairs of one rank, from `place` on, by one thread (step 1) or by all lanes of a warp.
LG_DEVICE void list_tiles(const Listing& listing, int64_t rank, int64_t place, int lane, int step) {
  const uint32_t item = listing.items[rank];
  const int64_t first_tile = item / listing.primitives * listing.per_view;
  TileRows<cuda_tile> rows(listing.bounds[item], listing.width, listing.height);
  for (int first, last; rows.next(&first, &last); place += last - first + 1) {
    const int64_t row = first_tile + rows.row() * listing.across;
    for (int column = first + lane; column <= last; column += step) {
      listing.tiles[place + column - first] = static_cast<uint32_t>(row + column);
      listing.ranks[place + column - first] = static_cast<uint32_t>(rank);
    }
  }
}

__global__ void __launch_bounds__(items_per_block) list_pairs(const __grid_constant__ Listing listing) {
  const auto lane = static_cast<int64_t>(lane_id());
  for (int64_t first = first_item() - lane; first < listing.count; first += item_step()) {
    const int64_t rank = first + lane;
    const bool there = rank < listing.count;
    const uint32_t tiles = there ? listing.tile_counts[listing.items[rank]] : 0;
    const int64_t place = there ? static_cast<int64_t>(listing.pairs_before[rank]) : 0;
    const bool fits = place + tiles <= listing.room, is_last = rank == listing.count - 1;
    // The first one that does not fit says how many do, or else the last one.
    if (there && ((!fits && place <= listing.room) || (fits && is_last))) {
      *listing.listed = static_cast<uint32_t>(fits ? listing.count : rank);
      *listing.pairs = static_cast<uint32_t>(fits ? place + tiles : place);
    }
    if (fits && tiles && tiles <= few_tiles) list_tiles(listing, rank, place, 0, 1);
    for (uint32_t large = warp_ballot(fits && tiles > few_tiles); large; large &= large - 1) {
      const auto from = static_cast<unsigned>(lowest_bit(large));
      list_tiles(listing, warp_shuffle(rank, from), warp_shuffle(place, from), static_cast<int>(lane), 32);
    }
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
  queue.fill_bytes(by_tile_.keys(), 0xff, by_tile_.count() * static_cast<int64_t>(sizeof *by_tile_.keys()));
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
  queue.launch_items(list_pairs, items_, listing);
  by_tile_.run(queue);
  // Mostly far fewer pairs than there is room for: no more threads than run at a time.
  const int64_t threads = std::min(by_tile_.count(), 8 * items_per_block * multiprocessors());
  queue.launch_items(find_ranges, threads, by_tile_.keys(), numbers_ + 1, begin_, end_);
}

template TileLists BinningPass::run<float>(Queue&, const Scene<float>&, int32_t);
template TileLists BinningPass::run<double>(Queue&, const Scene<double>&, int32_t);

}  // namespace splat
}  // namespace lg
