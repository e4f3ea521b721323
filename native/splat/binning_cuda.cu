// Binning on CUDA: one sort of all primitives by depth, then a stable sort of pairs by tile.
//
// How many pairs of tile and primitive there are only the device knows. They get a workspace of fixed size: those of
// the nearest primitives, as many as fit. Compositing goes through the rest tile by tile (see TileLists); so nothing is
// lost, and nobody waits for the host.
//
// Compiled without fused multiply-add: depths, and so the order, are those of the CPU bit for bit.
#include "splat/binning_cuda.h"

#include "splat/footprints_cuda.h"

namespace lg {
namespace splat {
namespace {

#if defined(LG_CUDA_EMULATED)
constexpr int64_t least_room = 1000, room_per_item = 3;  // so that tests meet full lists
#else
constexpr int64_t least_room = int64_t{1} << 22, room_per_item = 8;  // of 16 bytes each
#endif
constexpr int64_t most_room = 0x7fffffff;
constexpr int sum_rounds = 8;
constexpr int64_t sum_chunk = sort_threads * sum_rounds;
constexpr uint32_t few_tiles = 32;  // that a thread lists by itself

struct Placing {
  Bound* bounds;
  uint32_t *keys, *items, *tile_counts, *largest_opacity;
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
      const auto opacity = static_cast<float>(*scene.opacity.at(v, p));
      if (opacity > 1) atomic_max(out.largest_opacity, float_bits(opacity));
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
  uint64_t* chunk_sums;
  uint32_t *tiles, *ranks;   // out: the pairs
  uint32_t *listed, *pairs;  // out: how many ranks they are of, and how many they are
  int64_t count, room, primitives, across, per_view;
  int width, height;

  LG_DEVICE uint32_t tiles_of(int64_t rank) const { return rank < count ? tile_counts[items[rank]] : 0; }
};

__global__ void __launch_bounds__(sort_threads) sum_chunks(Listing listing) {
  __shared__ uint64_t of_warps[sort_warps];
  for (int64_t chunk = blockIdx.x; chunk * sum_chunk < listing.count; chunk += gridDim.x) {
    uint64_t mine = 0, all;
    for (int round = 0; round < sum_rounds; ++round) {
      mine += listing.tiles_of(chunk * sum_chunk + round * sort_threads + threadIdx.x);
    }
    sum_before(mine, of_warps, &all);
    if (threadIdx.x == 0) listing.chunk_sums[chunk] = all;
  }
}

// A single block.
__global__ void __launch_bounds__(sort_threads) sum_up(Listing listing) {
  __shared__ uint64_t of_warps[sort_warps];
  const int64_t chunks = (listing.count + sum_chunk - 1) / sum_chunk;
  uint64_t sum = 0, all;
  for (int64_t first = 0; first < chunks; first += sort_threads) {
    const int64_t chunk = first + threadIdx.x;
    const uint64_t before = sum_before(chunk < chunks ? listing.chunk_sums[chunk] : uint64_t{0}, of_warps, &all);
    if (chunk < chunks) listing.chunk_sums[chunk] = sum + before;
    sum += all;
  }
  if (threadIdx.x == 0) {  // list_pairs() corrects it where there is no room for so many
    *listing.listed = static_cast<uint32_t>(listing.count);
    *listing.pairs = static_cast<uint32_t>(sum);
  }
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

__global__ void __launch_bounds__(sort_threads) list_pairs(const __grid_constant__ Listing listing) {
  __shared__ uint64_t of_warps[sort_warps];
  for (int64_t chunk = blockIdx.x; chunk * sum_chunk < listing.count; chunk += gridDim.x) {
    auto sum = static_cast<int64_t>(listing.chunk_sums[chunk]);
    for (int round = 0; round < sum_rounds && chunk * sum_chunk + round * sort_threads < listing.count; ++round) {
      const int64_t rank = chunk * sum_chunk + round * sort_threads + threadIdx.x;
      const uint32_t tiles = listing.tiles_of(rank);
      uint64_t all;
      const int64_t place = sum + static_cast<int64_t>(sum_before(uint64_t{tiles}, of_warps, &all));
      sum += static_cast<int64_t>(all);
      const bool fits = place + tiles <= listing.room;
      if (!fits && place <= listing.room) {  // the first one that does not
        *listing.listed = static_cast<uint32_t>(rank);
        *listing.pairs = static_cast<uint32_t>(place);
      }
      if (fits && tiles && tiles <= few_tiles) list_tiles(listing, rank, place, 0, 1);
      for (uint32_t large = warp_ballot(fits && tiles > few_tiles); large; large &= large - 1) {
        const auto from = static_cast<unsigned>(lowest_bit(large));
        list_tiles(listing, warp_shuffle(rank, from), warp_shuffle(place, from), static_cast<int>(lane_id()), 32);
      }
    }
  }
}

__global__ void __launch_bounds__(256)
    find_ranges(const uint32_t* tiles, const uint32_t* count, uint32_t* begin, uint32_t* end) {
  const int64_t pairs = *count;
  for (int64_t i = first_item(); i < pairs; i += item_step()) {
    const uint32_t tile = tiles[i];
    if (i == 0 || tiles[i - 1] != tile) begin[tile] = static_cast<uint32_t>(i);
    if (i == pairs - 1 || tiles[i + 1] != tile) end[tile] = static_cast<uint32_t>(i + 1);
  }
}

int bits_of(int64_t numbers) {
  int bits = 1;
  while (bits < 32 && int64_t{1} << bits < numbers) ++bits;
  return bits;
}

}  // namespace

BinningPass::BinningPass(int64_t items, const Tiles& image)
    : items_(items),
      views_(image.views),
      height_(image.height),
      width_(image.width),
      across_(divide_up(image.width, cuda_tile)) {}

void BinningPass::plan(Workspace& workspace) {
  bounds_ = workspace.take<Bound>(items_);
  tile_counts_ = workspace.take<uint32_t>(items_);
  chunk_sums_ = workspace.take<uint64_t>(divide_up(items_, sum_chunk));
  numbers_ = workspace.take<uint32_t>(3);
  begin_ = workspace.take<uint32_t>(tiles());
  end_ = workspace.take<uint32_t>(tiles());
  by_depth_.plan(workspace, items_);
  const int64_t room = std::min(most_room, std::max(least_room, room_per_item * items_));
  by_tile_.plan(workspace, std::min(room, items_ * per_view()));
}

template <class T>
TileLists BinningPass::run(Queue& queue, const Scene<T>& scene, int32_t footprint) {
  queue.fill_bytes(numbers_, 0, 3 * sizeof *numbers_);
  queue.fill_bytes(begin_, 0, tiles() * static_cast<int64_t>(sizeof *begin_));
  queue.fill_bytes(end_, 0, tiles() * static_cast<int64_t>(sizeof *end_));
  with_footprint<T>(footprint, [&](auto shape) {
    using Footprint = typename decltype(shape)::type;
    const Placing out = {bounds_, by_depth_.keys[0], by_depth_.values[0], tile_counts_, numbers_ + 2};
    queue.launch_items(place_primitives<T, Footprint>, items_, scene, out);
  });
  const int depth = radix_sort(queue, by_depth_, nullptr, 32);
  const Listing listing = {bounds_,
                           by_depth_.values[depth],
                           tile_counts_,
                           chunk_sums_,
                           by_tile_.keys[0],
                           by_tile_.values[0],
                           numbers_,
                           numbers_ + 1,
                           items_,
                           by_tile_.most,
                           scene.primitives,
                           across_,
                           per_view(),
                           static_cast<int>(width_),
                           static_cast<int>(height_)};
  const auto blocks = static_cast<unsigned>(std::min<int64_t>(divide_up(items_, sum_chunk), 8 * multiprocessors()));
  queue.launch(sum_chunks, dim3(blocks), dim3(sort_threads), listing);
  queue.launch(sum_up, dim3(blocks ? 1 : 0), dim3(sort_threads), listing);
  queue.launch(list_pairs, dim3(blocks), dim3(sort_threads), listing);
  const int tile = radix_sort(queue, by_tile_, numbers_ + 1, bits_of(tiles()));
  queue.launch(find_ranges, dim3(8 * blocks), dim3(256), by_tile_.keys[tile], numbers_ + 1, begin_, end_);
  return {bounds_,
          by_depth_.keys[depth],
          by_depth_.values[depth],
          by_tile_.values[tile],
          begin_,
          end_,
          numbers_,
          numbers_ + 2,
          items_,
          across_,
          per_view()};
}

template TileLists BinningPass::run<float>(Queue&, const Scene<float>&, int32_t);
template TileLists BinningPass::run<double>(Queue&, const Scene<double>&, int32_t);

}  // namespace splat
}  // namespace lg
