// Building mip levels on the CPU, and folding gradients of mip levels back into the texture. Rows are combined first:
// that reads contiguous memory and leaves little work across columns.
#include "texture/mips_cpu.h"

#include <algorithm>
#include <vector>

#include "lumigrad.h"
#include "parallel/with_constant.h"
#include "runtime/memory.h"
#include "runtime/status.h"
#include "runtime/threads.h"

namespace lg::texture {
namespace {

// Calls body(first, last, workspace) for ranges of rows, each with a workspace of `values` values.
template <class T, class Body>
void for_rows(int32_t threads, int64_t rows, int64_t values_per_row, int64_t values, Body&& body) {
  const int64_t rows_per_task = std::max<int64_t>(1, 131072 / std::max<int64_t>(1, values_per_row));
  parallel_for(threads, divide_up(rows, rows_per_task), [&](int64_t task, int) {
    Buffer<T> workspace(static_cast<size_t>(values));
    body(task * rows_per_task, std::min(rows, (task + 1) * rows_per_task), workspace.data());
  });
}

// out = sum of weight[k] * rows[k * stride ..].
template <class T>
void mix_rows(const T* LG_RESTRICT rows, int64_t stride, int32_t count, const T* weight, T* LG_RESTRICT out) {
  for (int64_t x = 0; x < stride; ++x) {
    T sum = weight[0] * rows[x];
    for (int32_t k = 1; k < count; ++k) sum += weight[k] * rows[k * stride + x];
    out[x] = sum;
  }
}

template <class T>
void mix_rows_by_count(const T* rows, int64_t stride, int32_t count, const T* weight, T* out) {
  if (count == 1) return mix_rows(rows, stride, 1, weight, out);
  if (count == 2) return mix_rows(rows, stride, 2, weight, out);
  return mix_rows(rows, stride, 3, weight, out);
}

template <class T, int Channels>
void halve_row(const T* LG_RESTRICT row, int64_t width, int64_t free_channels, T* LG_RESTRICT out) {
  const int64_t channels = Channels ? Channels : free_channels, coarse = halved(width);
  if (width % 2 == 0) {
    for (int64_t i = 0; i < coarse; ++i) {
      for (int64_t c = 0; c < channels; ++c) {
        out[i * channels + c] = T(0.5) * (row[2 * i * channels + c] + row[(2 * i + 1) * channels + c]);
      }
    }
    return;
  }
  for (int64_t i = 0; i < coarse; ++i) {
    const BoxTaps<T> taps = box_taps<T>(i, width);
    const T* texel = row + taps.first * channels;
    for (int64_t c = 0; c < channels; ++c) {
      T sum = taps.weight[0] * texel[c];
      for (int32_t k = 1; k < taps.count; ++k) sum += taps.weight[k] * texel[k * channels + c];
      out[i * channels + c] = sum;
    }
  }
}

// Adds a row of the coarser level to a row of the finer level, or overwrites it.
template <class T, int Channels>
void spread_row(const T* LG_RESTRICT coarse, int64_t width, int64_t free_channels, bool add, T* LG_RESTRICT out) {
  const int64_t channels = Channels ? Channels : free_channels;
  for (int64_t j = 0; j < width; ++j) {
    const SpreadTaps<T> taps = spread_taps<T>(j, width);
    const T* texel = coarse + taps.first * channels;
    for (int64_t c = 0; c < channels; ++c) {
      T sum = taps.weight[0] * texel[c];
      if (taps.count == 2) sum += taps.weight[1] * texel[channels + c];
      out[j * channels + c] = add ? out[j * channels + c] + sum : sum;
    }
  }
}

template <class T>
void halve_level(int32_t threads, const LevelSize& size, const T* fine, T* coarse) {
  const int64_t row = size.width * size.channels, coarse_row = size.next().width * size.channels;
  const int64_t rows = size.next().height;
  for_rows<T>(threads, size.images * rows, 2 * row, row, [&](int64_t first, int64_t last, T* mixed) {
    for (int64_t i = first; i < last; ++i) {
      const BoxTaps<T> taps = box_taps<T>(i % rows, size.height);
      const T* source = fine + (i / rows * size.height + taps.first) * row;
      mix_rows_by_count(source, row, taps.count, taps.weight, mixed);
      with_constant_for_speed<1, 3, 4>(size.channels, [&](auto channels) {
        halve_row<T, channels>(mixed, size.width, size.channels, coarse + i * coarse_row);
      });
    }
  });
}

template <class T>
void spread_level(int32_t threads, const LevelSize& size, const T* coarse, bool add, T* fine) {
  const int64_t row = size.width * size.channels, coarse_row = size.next().width * size.channels;
  const int64_t rows = size.height, coarse_rows = size.next().height;
  for_rows<T>(threads, size.images * rows, row, coarse_row, [&](int64_t first, int64_t last, T* mixed) {
    for (int64_t j = first; j < last; ++j) {
      const SpreadTaps<T> taps = spread_taps<T>(j % rows, size.height);
      const T* source = coarse + (j / rows * coarse_rows + taps.first) * coarse_row;
      mix_rows_by_count(source, coarse_row, taps.count, taps.weight, mixed);
      with_constant_for_speed<1, 3, 4>(size.channels, [&](auto channels) {
        spread_row<T, channels>(mixed, size.width, size.channels, add, fine + j * row);
      });
    }
  });
}

void check_levels(int64_t below) {
  if (below < 0 || below >= max_levels) {
    throw InvalidArgument("a texture has 1 to %d levels, got %lld", max_levels, static_cast<long long>(below + 1));
  }
}

}  // namespace

template <class T>
void build_mips(int32_t threads, LevelSize size, int64_t below, const T* tex, T* mips) {
  const PackedLevels at(size, below);
  for (int64_t l = 0; l < below; ++l, size = size.next()) {
    halve_level<T>(threads, size, l == 0 ? tex : mips + at.first[l - 1], mips + at.first[l]);
  }
}

template <class T>
void fold_mips(int32_t threads, LevelSize size, int64_t below, T* mips, bool add_to_tex, T* tex) {
  if (below == 0 && !add_to_tex) std::fill_n(tex, size.values(), T(0));
  const PackedLevels at(size, below);
  std::vector<LevelSize> sizes = {size};
  while (static_cast<int64_t>(sizes.size()) < below) sizes.push_back(sizes.back().next());
  for (int64_t l = below - 1; l >= 0; --l) {
    spread_level<T>(threads, sizes[static_cast<size_t>(l)], mips + at.first[l], l > 0 || add_to_tex,
                    l == 0 ? tex : mips + at.first[l - 1]);
  }
}

template void build_mips<float>(int32_t, LevelSize, int64_t, const float*, float*);
template void build_mips<double>(int32_t, LevelSize, int64_t, const double*, double*);
template void fold_mips<float>(int32_t, LevelSize, int64_t, float*, bool, float*);
template void fold_mips<double>(int32_t, LevelSize, int64_t, double*, bool, double*);

}  // namespace lg::texture

int32_t lg_build_mips_forward(lg_call* call, int32_t dtype, const void* tex, int64_t levels, int64_t images,
                              int64_t height, int64_t width, int64_t channels, void* mips) {
  return lg::dispatch(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    lg::texture::check_levels(levels);
    lg::texture::build_mips<T>(call->threads, {images, height, width, channels}, levels, static_cast<const T*>(tex),
                               static_cast<T*>(mips));
  });
}

int32_t lg_build_mips_backward(lg_call* call, int32_t dtype, int64_t levels, int64_t images, int64_t height,
                               int64_t width, int64_t channels, const void* grad_mips, void* grad_tex) {
  return lg::dispatch(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    lg::texture::check_levels(levels);
    const lg::texture::LevelSize size = {images, height, width, channels};
    const int64_t values = lg::texture::PackedLevels(size, levels).first[levels];
    lg::Buffer<T> sums(static_cast<size_t>(values));
    std::copy_n(static_cast<const T*>(grad_mips), values, sums.data());
    lg::texture::fold_mips<T>(call->threads, size, levels, sums.data(), false, static_cast<T*>(grad_tex));
  });
}
