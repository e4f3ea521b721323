// Binning on the CPU: one radix sort of a view's primitives by depth, then a stable placement into tiles.
//
// Both work in chunks that depend only on the input: count, sum up, place. The lists are therefore the same for any
// number of threads.
#include "splat/bins_cpu.h"

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

// One stable pass over the digit at `shift`. Does nothing and returns false if all keys share that digit.
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

// The visible primitives of one view, front to back. Returns their number.
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

// Calls body(tile) for each tile of a view that the bound meets, row by row.
template <class Body>
void for_tiles(const Tiles& tiles, const Bound& bound, Body&& body) {
  TileRows<tile_size> rows(bound, static_cast<int>(tiles.width), static_cast<int>(tiles.height));
  for (int first, last; rows.next(&first, &last);) {
    for (int column = first; column <= last; ++column) body(rows.row() * tiles.across() + column);
  }
}

// The sorted primitives of a view, cut into chunks for placement.
struct SortedView {
  Buffer<Keyed> sorted;
  int64_t count, chunk;
  std::vector<int32_t> counts;  // [chunk][tile]: number of entries, then the start of the chunk in the tile's list
  std::vector<int64_t> pairs;   // [chunk]: number of primitive-tile pairs, then the sum of those before it

  int64_t chunks() const { return divide_up(count, chunk); }

  // Calls body(primitive) for the primitives of a chunk. bounds: of the view.
  template <class Body>
  void for_chunk(int64_t c, const Bound* bounds, Body&& body) const {
    const int64_t end = std::min(count, (c + 1) * chunk);
    for (int64_t i = c * chunk; i < end; ++i) {
      if (i + 16 < end) LG_PREFETCH(bounds + sorted[i + 16].primitive);
      body(sorted[i].primitive);
    }
  }
};

class Binning {
 public:
  Binning(int threads, const Tiles& tiles, int64_t primitives, const Bound* bounds, bool with_slots)
      : threads_(threads),
        tiles_(tiles),
        primitives_(primitives),
        bounds_(bounds),
        with_slots_(with_slots),
        views_(static_cast<size_t>(tiles.views)) {}

  Bins run(const uint32_t* keys) {
    bins_.begin = Buffer<int64_t>(tiles_.count() + 1);
    if (with_slots_) {
      bins_.first = Buffer<int64_t>(tiles_.views * primitives_);
      bins_.count = Buffer<int32_t>(tiles_.views * primitives_);
      std::fill_n(bins_.count.data(), tiles_.views * primitives_, 0);
    }
    for (int64_t v = 0; v < tiles_.views; ++v) count(v, keys + v * primitives_);
    sum_up();
    for (int64_t v = 0; v < tiles_.views; ++v) place(v);
    return std::move(bins_);
  }

 private:
  const Bound* bounds_of(int64_t v) const { return bounds_ + v * primitives_; }

  // Sorts a view's primitives and counts the entries of each chunk per tile.
  void count(int64_t v, const uint32_t* keys) {
    SortedView& view = views_[v];
    view.count = sorted_primitives(threads_, keys, primitives_, &view.sorted);
    view.chunk = std::max<int64_t>(1024, divide_up(view.count, 64));
    view.counts.assign(static_cast<size_t>(view.chunks() * tiles_.per_view()), 0);
    view.pairs.assign(static_cast<size_t>(view.chunks()), 0);
    parallel_for(threads_, view.chunks(), [&](int64_t c, int) {
      int32_t* counts = view.counts.data() + c * tiles_.per_view();
      int64_t pairs = 0;
      view.for_chunk(c, bounds_of(v), [&](int32_t primitive) {
        int32_t touched = 0;
        for_tiles(tiles_, bounds_of(v)[primitive], [&](int64_t tile) {
          ++counts[tile];
          ++touched;
        });
        if (with_slots_) bins_.count[v * primitives_ + primitive] = touched;
        pairs += touched;
      });
      view.pairs[c] = pairs;
    });
  }

  // Converts counts to starts.
  void sum_up() {
    int64_t entries = 0, pairs = 0;
    for (int64_t v = 0; v < tiles_.views; ++v) {
      SortedView& view = views_[v];
      for (int64_t& of_chunk : view.pairs) pairs += std::exchange(of_chunk, pairs);
      for (int64_t tile = 0; tile < tiles_.per_view(); ++tile) {
        int32_t sum = 0;
        for (int64_t c = 0; c < view.chunks(); ++c) {
          sum += std::exchange(view.counts[c * tiles_.per_view() + tile], sum);
        }
        bins_.begin[v * tiles_.per_view() + tile] = entries;
        entries += sum;
      }
    }
    bins_.begin[tiles_.count()] = entries;
    bins_.entry = Buffer<int32_t>(entries);
    if (with_slots_) bins_.slot = Buffer<int64_t>(entries);
  }

  void place(int64_t v) {
    SortedView& view = views_[v];
    parallel_for(threads_, view.chunks(), [&](int64_t c, int) {
      int32_t* next = view.counts.data() + c * tiles_.per_view();
      const int64_t* begin = bins_.begin.data() + v * tiles_.per_view();
      int64_t pair = view.pairs[c];
      view.for_chunk(c, bounds_of(v), [&](int32_t primitive) {
        if (with_slots_) bins_.first[v * primitives_ + primitive] = pair;
        for_tiles(tiles_, bounds_of(v)[primitive], [&](int64_t tile) {
          const int64_t slot = begin[tile] + next[tile]++;
          bins_.entry[slot] = primitive;
          if (with_slots_) bins_.slot[pair++] = slot;
        });
      });
    });
  }

  const int threads_;
  const Tiles& tiles_;
  const int64_t primitives_;
  const Bound* bounds_;
  const bool with_slots_;
  std::vector<SortedView> views_;
  Bins bins_;
};

}  // namespace

Bins make_bins(int threads, const Tiles& tiles, int64_t primitives, const Bound* bounds, const uint32_t* keys,
               bool with_slots) {
  return Binning(threads, tiles, primitives, bounds, with_slots).run(keys);
}

}  // namespace splat
}  // namespace lg
