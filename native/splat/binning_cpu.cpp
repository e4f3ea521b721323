// Binning on the CPU: one radix sort of a view's primitives by depth, then a stable placement into tiles.
//
// Both go by chunks that the input alone fixes: count, sum up, place. The lists come out the same for any number of
// threads.
#include "splat/binning.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "runtime/threads.h"

namespace lg {
namespace splat {
namespace {

struct Keyed {
  uint32_t key;
  int32_t primitive;
};

constexpr int64_t sort_chunk = 1 << 15;
constexpr int digit_bits = 11, digits = 1 << digit_bits;

// One stable pass by the digit at `shift`. Does nothing and returns false when all keys share it.
bool radix_pass(int threads, const Keyed* from, Keyed* to, int64_t count, int shift) {
  const int64_t chunks = divide_up(count, sort_chunk);
  std::vector<int64_t> place(static_cast<size_t>(chunks * digits), 0);
  parallel_for(threads, chunks, [&](int64_t chunk, int) {
    int64_t* histogram = place.data() + chunk * digits;
    const int64_t end = std::min(count, (chunk + 1) * sort_chunk);
    for (int64_t i = chunk * sort_chunk; i < end; ++i) ++histogram[from[i].key >> shift & (digits - 1)];
  });
  int64_t sum = 0;
  for (int digit = 0; digit < digits; ++digit) {
    const int64_t before = sum;
    for (int64_t chunk = 0; chunk < chunks; ++chunk) {
      sum += std::exchange(place[chunk * digits + digit], sum);
    }
    if (sum - before == count) return false;
  }
  parallel_for(threads, chunks, [&](int64_t chunk, int) {
    int64_t* next = place.data() + chunk * digits;
    const int64_t end = std::min(count, (chunk + 1) * sort_chunk);
    for (int64_t i = chunk * sort_chunk; i < end; ++i) to[next[from[i].key >> shift & (digits - 1)]++] = from[i];
  });
  return true;
}

// The primitives of one view that are drawn, front to back. Returns how many.
int64_t sorted_primitives(int threads, const uint32_t* keys, int64_t primitives, Buffer<Keyed>* sorted) {
  const int64_t chunks = divide_up(primitives, sort_chunk);
  std::vector<int64_t> place(static_cast<size_t>(chunks) + 1, 0);
  parallel_for(threads, chunks, [&](int64_t chunk, int) {
    const int64_t begin = chunk * sort_chunk, end = std::min(primitives, begin + sort_chunk);
    place[chunk + 1] = (end - begin) - std::count(keys + begin, keys + end, hidden_key);
  });
  for (int64_t chunk = 0; chunk < chunks; ++chunk) place[chunk + 1] += place[chunk];
  const int64_t count = place[chunks];
  *sorted = Buffer<Keyed>(count);
  Buffer<Keyed> other(count);
  parallel_for(threads, chunks, [&](int64_t chunk, int) {
    int64_t next = place[chunk];
    const int64_t end = std::min(primitives, (chunk + 1) * sort_chunk);
    for (int64_t i = chunk * sort_chunk; i < end; ++i) {
      if (keys[i] != hidden_key) (*sorted)[next++] = {keys[i], static_cast<int32_t>(i)};
    }
  });
  for (int shift = 0; count && shift < 32; shift += digit_bits) {
    if (radix_pass(threads, sorted->data(), other.data(), count, shift)) std::swap(*sorted, other);
  }
  return count;
}

// Calls body(tile) for every tile of a view that the bound meets, row by row.
template <class Body>
void for_tiles(const Tiles& tiles, const Bound& bound, Body&& body) {
  TileRows<tile_size> rows(bound, static_cast<int>(tiles.width), static_cast<int>(tiles.height));
  for (int first, last; rows.next(&first, &last);) {
    for (int column = first; column <= last; ++column) body(rows.row() * tiles.across() + column);
  }
}

// The sorted primitives of a view, cut into chunks for placing.
struct Sorted {
  Buffer<Keyed> primitive;
  int64_t count, chunk;
  int64_t chunks() const { return divide_up(count, chunk); }
  int64_t end(int64_t c) const { return std::min(count, (c + 1) * chunk); }
};

}  // namespace

Bins make_bins(int threads, const Tiles& tiles, int64_t primitives, const Bound* bounds, const uint32_t* keys,
               bool with_slots) {
  Bins bins;
  const int64_t per_view = tiles.per_view();
  bins.begin = Buffer<int64_t>(tiles.count() + 1);
  std::vector<Sorted> views(static_cast<size_t>(tiles.views));
  std::vector<std::vector<int32_t>> counts(views.size());  // [chunk][tile]
  std::vector<std::vector<int64_t>> pairs(views.size());   // [chunk]: primitive-tile pairs
  if (with_slots) {
    bins.first = Buffer<int64_t>(tiles.views * primitives);
    bins.count = Buffer<int32_t>(tiles.views * primitives);
    std::fill_n(bins.count.data(), tiles.views * primitives, 0);
  }
  int64_t total = 0, total_pairs = 0;
  for (int64_t v = 0; v < tiles.views; ++v) {
    Sorted& sorted = views[v];
    sorted.count = sorted_primitives(threads, keys + v * primitives, primitives, &sorted.primitive);
    sorted.chunk = std::max<int64_t>(1024, divide_up(sorted.count, 64));
    counts[v].assign(static_cast<size_t>(sorted.chunks() * per_view), 0);
    pairs[v].assign(static_cast<size_t>(sorted.chunks()), 0);
    parallel_for(threads, sorted.chunks(), [&](int64_t c, int) {
      int32_t* count = counts[v].data() + c * per_view;
      int64_t sum = 0;
      for (int64_t i = c * sorted.chunk; i < sorted.end(c); ++i) {
        const int64_t p = v * primitives + sorted.primitive[i].primitive;
        if (i + 16 < sorted.end(c)) LG_PREFETCH(bounds + v * primitives + sorted.primitive[i + 16].primitive);
        int32_t touched = 0;
        for_tiles(tiles, bounds[p], [&](int64_t tile) {
          ++count[tile];
          ++touched;
        });
        if (with_slots) bins.count[p] = touched;
        sum += touched;
      }
      pairs[v][c] = sum;
    });
    for (int64_t tile = 0; tile < per_view; ++tile) {
      bins.begin[v * per_view + tile] = total;
      for (int64_t c = 0; c < sorted.chunks(); ++c) total += counts[v][c * per_view + tile];
    }
  }
  bins.begin[tiles.count()] = total;
  bins.entry = Buffer<int32_t>(total);
  if (with_slots) bins.slot = Buffer<int64_t>(total);
  for (int64_t v = 0; v < tiles.views; ++v) {
    const Sorted& sorted = views[v];
    for (int64_t c = 0; c < sorted.chunks(); ++c) total_pairs += std::exchange(pairs[v][c], total_pairs);
    // From counts to where in its tile's list each chunk begins.
    for (int64_t tile = 0; tile < per_view; ++tile) {
      int32_t sum = 0;
      for (int64_t c = 0; c < sorted.chunks(); ++c) sum += std::exchange(counts[v][c * per_view + tile], sum);
    }
    parallel_for(threads, sorted.chunks(), [&](int64_t c, int) {
      int32_t* next = counts[v].data() + c * per_view;
      const int64_t* begin = bins.begin.data() + v * per_view;
      int64_t pair = pairs[v][c];
      for (int64_t i = c * sorted.chunk; i < sorted.end(c); ++i) {
        const int32_t primitive = sorted.primitive[i].primitive;
        const int64_t p = v * primitives + primitive;
        if (i + 16 < sorted.end(c)) LG_PREFETCH(bounds + v * primitives + sorted.primitive[i + 16].primitive);
        if (with_slots) bins.first[p] = pair;
        for_tiles(tiles, bounds[p], [&](int64_t tile) {
          const int64_t slot = begin[tile] + next[tile]++;
          bins.entry[slot] = primitive;
          if (with_slots) bins.slot[pair++] = slot;
        });
      }
    });
  }
  return bins;
}

}  // namespace splat
}  // namespace lg
