// Scattering per-pixel gradients to vertices, the same bit for bit for any number of threads, without
// atomics.
//
// An image is cut into chunks (tiles). The pixels of a chunk add to one record per triangle. When all chunks are done,
// every vertex sums the records in chunk order. The chunks depend only on the image, so neither the sums nor their
// order depend on the threads.
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "parallel/triangle_numbers.h"
#include "runtime/config.h"
#include "runtime/memory.h"
#include "runtime/threads.h"

namespace lg {

template <class T>
class TriangleGradients {
 public:
  // values: per record; in the end, three vertices times `values / 3` channels.
  TriangleGradients(int workers, int64_t chunks, int64_t values)
      : values_(values), workers_(std::max(1, workers)), chunks_(chunks) {}

  void begin_chunk(int64_t chunk, int worker, int64_t view) {
    Worker& w = workers_[worker];
    w.first = static_cast<int64_t>(w.triangle.size());
    w.numbers.clear();
    chunks_[chunk] = {worker, w.first, w.first, view};
  }

  // The number of the triangle's record in the worker's current chunk. A new record is zero and is numbered
  // after all others of the chunk.
  int64_t find(int worker, int32_t triangle) {
    Worker& w = workers_[worker];
    const int32_t before = w.numbers.count(), number = w.numbers.find(triangle);
    if (number == before) {
      w.triangle.push_back(triangle);
      std::fill_n(w.value.extend(values_), values_, T(0));
    }
    return number;
  }

  // The values of a record; valid until the next find().
  T* values(int worker, int64_t record) {
    Worker& w = workers_[worker];
    return w.value.data() + (w.first + record) * values_;
  }

  // Adds `count` records to the worker's current chunk, which must have none from find(), and returns their values,
  // initially zero.
  template <class TriangleOf>
  T* append(int worker, int64_t count, TriangleOf&& triangle_of) {
    Worker& w = workers_[worker];
    int32_t* triangles = w.triangle.extend(count);
    for (int64_t i = 0; i < count; ++i) triangles[i] = triangle_of(i);
    T* values = w.value.extend(count * values_);
    std::fill_n(values, count * values_, T(0));
    return values;
  }

  void end_chunk(int64_t chunk, int worker) {
    chunks_[chunk].end = static_cast<int64_t>(workers_[worker].triangle.size());
  }

  // A part of the records: three vertices times `stride` values, starting at `first`.
  struct Part {
    int64_t first, stride;
  };

  // out [views or 1, vertices, channels] = sums of the records' channels. shared: all views add to the same
  // vertices.
  void scatter(int threads, const int32_t* tri, int64_t vertices, int64_t views, bool shared, int64_t channels,
               T* out) const {
    scatter(threads, tri, vertices, views, shared, channels, {0, values_ / 3}, out);
  }

  // The same for a part of the records. If it has fewer channels than `out`, the others get zero; it may also have
  // more.
  void scatter(int threads, const int32_t* tri, int64_t vertices, int64_t views, bool shared, int64_t channels,
               const Part& of, T* out) const {
    const int64_t rows = (shared ? 1 : views) * vertices;
    const int64_t parts = std::max<int64_t>(1, std::min<int64_t>(threads, rows / 256));
    parallel_for(threads, parts, [&](int64_t part, int) {
      const int64_t low = rows * part / parts, high = rows * (part + 1) / parts;
      std::fill(out + low * channels, out + high * channels, T(0));
      for (const Chunk& chunk : chunks_) {
        const int64_t base = shared ? 0 : chunk.view * vertices;
        if (base >= high || base + vertices <= low) continue;
        // Common numbers of channels are compile-time constants.
        const int64_t used = std::min(of.stride, channels);
        switch (used) {
          case 3:
            add_chunk(chunk, tri, base, low, high, channels, of, std::integral_constant<int64_t, 3>(), out);
            break;
          case 4:
            add_chunk(chunk, tri, base, low, high, channels, of, std::integral_constant<int64_t, 4>(), out);
            break;
          default:
            add_chunk(chunk, tri, base, low, high, channels, of, used, out);
        }
      }
    });
  }

 private:
  static constexpr int64_t records_ahead = 16;

  struct Worker {
    TriangleNumbers numbers;  // of the current chunk's records
    Array<int32_t> triangle;
    Array<T> value;
    int64_t first = 0;  // of the current chunk
  };
  struct Chunk {
    int worker;
    int64_t first, end, view;
  };

  // Adds a chunk's records to the rows [low, high) of `out`; base: the row of vertex 0; used: channels that are added.
  template <class Used>
  void add_chunk(const Chunk& chunk, const int32_t* tri, int64_t base, int64_t low, int64_t high, int64_t channels,
                 const Part& of, Used used, T* out) const {
    const Worker& w = workers_[chunk.worker];
    const int64_t count = static_cast<int64_t>(w.triangle.size());
    for (int64_t i = chunk.first; i < chunk.end; ++i) {
      // The records of a worker are one list across its chunks: prefetching may run beyond a chunk.
      if (i + records_ahead < count) LG_PREFETCH(tri + 3 * static_cast<int64_t>(w.triangle[i + records_ahead]));
      const int32_t* index = tri + 3 * static_cast<int64_t>(w.triangle[i]);
      const T* value = w.value.data() + i * values_ + of.first;
      for (int64_t k = 0; k < 3; ++k) {
        const int64_t row = base + index[k];
        if (index[k] < 0 || row < low || row >= high) continue;
        T* LG_RESTRICT target = out + row * channels;
        for (int64_t c = 0; c < used; ++c) target[c] += value[k * of.stride + c];
      }
    }
  }

  const int64_t values_;
  std::vector<Worker> workers_;
  std::vector<Chunk> chunks_;
};

}  // namespace lg
