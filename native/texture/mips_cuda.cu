// Building mip levels on CUDA, and folding gradients of mip levels back into the texture.
//
// A large level takes one launch, with a thread per value. The small levels at the end of the pyramid are too little
// work for a launch each: one block computes all of them, image by image.
#include "texture/mips_cuda.h"

namespace lg::texture {
namespace {

// Levels of up to this many values per image belong to the end of the pyramid.
constexpr int64_t small_level = 4096;

template <class T>
struct Pyramid {
  T* level[max_levels];  // the base first
  int64_t images, height, width, channels;

  LG_HD int64_t side(int64_t size, int32_t level_number) const {
    const int64_t shrunk = size >> level_number;
    return shrunk > 1 ? shrunk : 1;
  }
  LG_HD int64_t rows(int32_t l) const { return side(height, l); }
  LG_HD int64_t columns(int32_t l) const { return side(width, l); }
  LG_HD int64_t values(int32_t l) const { return rows(l) * columns(l) * channels; }  // of one image
};

// ---- Building ----------------------------------------------------------------------------------------------

// Computes a value of level l + 1 of an image from level l. Rows are combined first, as on the CPU.
template <class T>
LG_DEVICE void halve_value(const Pyramid<T>& p, int32_t l, int64_t image, int64_t i) {
  const int64_t coarse_columns = p.columns(l + 1), fine_row = p.columns(l) * p.channels;
  const int64_t texel = i / p.channels, c = i - texel * p.channels;
  const int64_t row = texel / coarse_columns, column = texel - row * coarse_columns;
  const BoxTaps<T> down = box_taps<T>(row, p.rows(l)), across = box_taps<T>(column, p.columns(l));
  const T* fine = p.level[l] + image * p.values(l) + down.first * fine_row + across.first * p.channels + c;
  T sum = 0;
#pragma unroll
  for (int32_t x = 0; x < 3; ++x) {
    if (x >= across.count) continue;
    T mixed = 0;
#pragma unroll
    for (int32_t y = 0; y < 3; ++y) {
      if (y < down.count) mixed += down.weight[y] * fine[y * fine_row + x * p.channels];
    }
    sum += across.weight[x] * mixed;
  }
  p.level[l + 1][image * p.values(l + 1) + i] = sum;
}

template <class T>
__global__ void __launch_bounds__(items_per_block) build_level(const __grid_constant__ Pyramid<T> p, int32_t l) {
  const int64_t values = p.values(l + 1);
  for (int64_t item = first_item(); item < p.images * values; item += item_step()) {
    const int64_t image = item / values;
    halve_value(p, l, image, item - image * values);
  }
}

// Levels first + 1 to last of one image.
template <class T>
__global__ void __launch_bounds__(512) build_end(const __grid_constant__ Pyramid<T> p, int32_t first, int32_t last) {
  for (int64_t image = blockIdx.x; image < p.images; image += gridDim.x) {
    for (int32_t l = first; l < last; ++l) {
      for (int64_t i = threadIdx.x; i < p.values(l + 1); i += blockDim.x) halve_value(p, l, image, i);
      __syncthreads();
    }
  }
}

// ---- Folding -----------------------------------------------------------------------------------------------

// Adds the contribution of level l + 1 to a value of level l of an image, or overwrites the value.
template <class T>
LG_DEVICE void spread_value(const Pyramid<T>& p, int32_t l, int64_t image, int64_t i, bool add) {
  const int64_t columns = p.columns(l), coarse_row = p.columns(l + 1) * p.channels;
  const int64_t texel = i / p.channels, c = i - texel * p.channels;
  const int64_t row = texel / columns, column = texel - row * columns;
  const SpreadTaps<T> down = spread_taps<T>(row, p.rows(l)), across = spread_taps<T>(column, columns);
  const T* coarse = p.level[l + 1] + image * p.values(l + 1) + down.first * coarse_row + across.first * p.channels + c;
  T sum = 0;
#pragma unroll
  for (int32_t x = 0; x < 2; ++x) {
    if (x >= across.count) continue;
    T mixed = 0;
#pragma unroll
    for (int32_t y = 0; y < 2; ++y) {
      if (y < down.count) mixed += down.weight[y] * coarse[y * coarse_row + x * p.channels];
    }
    sum += across.weight[x] * mixed;
  }
  T* target = p.level[l] + image * p.values(l) + i;
  *target = add ? *target + sum : sum;
}

template <class T>
__global__ void __launch_bounds__(items_per_block)
    fold_level(const __grid_constant__ Pyramid<T> p, int32_t l, bool add) {
  const int64_t values = p.values(l);
  for (int64_t item = first_item(); item < p.images * values; item += item_step()) {
    const int64_t image = item / values;
    spread_value(p, l, image, item - image * values, add);
  }
}

// Levels last - 1 down to first of one image.
template <class T>
__global__ void __launch_bounds__(512) fold_end(const __grid_constant__ Pyramid<T> p, int32_t first, int32_t last) {
  for (int64_t image = blockIdx.x; image < p.images; image += gridDim.x) {
    for (int32_t l = last - 1; l >= first; --l) {
      for (int64_t i = threadIdx.x; i < p.values(l); i += blockDim.x) spread_value(p, l, image, i, true);
      __syncthreads();
    }
  }
}

// ---- Calls -------------------------------------------------------------------------------------------------

template <class T>
Pyramid<T> pyramid_of(const LevelSize& size, int64_t below, T* tex, T* mips) {
  Pyramid<T> out = {};
  const Levels<T*> levels = levels_of(tex, static_cast<void* const*>(nullptr), 0, below, mips, size);
  std::copy_n(levels.level, max_levels, out.level);
  out.images = size.images;
  out.height = size.height;
  out.width = size.width;
  out.channels = size.channels;
  return out;
}

// The first small level. The base never counts as small.
template <class T>
int32_t small_from(const Pyramid<T>& p, int32_t last) {
  int32_t level = 1;
  while (level < last && p.values(level) > small_level) ++level;
  return level;
}

template <class T>
dim3 images_of(const Pyramid<T>& p) {
  return dim3(static_cast<unsigned>(std::min(p.images, max_grid_x)));
}

int32_t reject_levels(int64_t below) {
  return reject("a texture has 1 to %d levels, got %lld", static_cast<int>(max_levels),
                static_cast<long long>(below + 1));
}

}  // namespace

template <class T>
void build_mips(Queue& queue, const LevelSize& size, int64_t below, const T* tex, T* mips) {
  // The base is only read.
  const Pyramid<T> p = pyramid_of(size, below, const_cast<T*>(tex), mips);
  if (p.images * p.channels == 0) return;
  const auto last = static_cast<int32_t>(below);
  const int32_t end = small_from(p, last);
  for (int32_t l = 0; l < std::min(end, last); ++l) {
    queue.launch_items(build_level<T>, p.images * p.values(l + 1), p, l);
  }
  if (end < last) queue.launch(build_end<T>, images_of(p), dim3(512), p, end, last);
}

template <class T>
void fold_mips(Queue& queue, const LevelSize& size, int64_t below, T* mips, bool add_to_tex, T* tex) {
  const Pyramid<T> p = pyramid_of(size, below, tex, mips);
  if (p.images * p.channels == 0) return;
  if (below == 0 && !add_to_tex) queue.fill_bytes(tex, 0, size.values() * static_cast<int64_t>(sizeof(T)));
  const auto last = static_cast<int32_t>(below);
  const int32_t end = small_from(p, last);
  if (end < last) queue.launch(fold_end<T>, images_of(p), dim3(512), p, end, last);
  for (int32_t l = std::min(end, last) - 1; l >= 0; --l) {
    queue.launch_items(fold_level<T>, p.images * p.values(l), p, l, l > 0 || add_to_tex);
  }
}

template void build_mips<float>(Queue&, const LevelSize&, int64_t, const float*, float*);
template void build_mips<double>(Queue&, const LevelSize&, int64_t, const double*, double*);
template void fold_mips<float>(Queue&, const LevelSize&, int64_t, float*, bool, float*);
template void fold_mips<double>(Queue&, const LevelSize&, int64_t, double*, bool, double*);

namespace {

template <class T>
struct BuildMips {
  LevelSize size;
  int64_t below;
  const T* tex;
  T* mips;

  void plan(Workspace&) {}
  void run(Queue& queue) { build_mips(queue, size, below, tex, mips); }
};

template <class T>
struct PullBackMips {
  LevelSize size;
  int64_t below;
  const T* grad_mips;
  T* grad_tex;
  T* sums = nullptr;

  int64_t values() const { return PackedLevels(size, below).first[below]; }
  void plan(Workspace& workspace) { sums = workspace.take<T>(values()); }
  void run(Queue& queue) {
    queue.copy(sums, grad_mips, values() * static_cast<int64_t>(sizeof(T)));
    fold_mips(queue, size, below, sums, false, grad_tex);
  }
};

}  // namespace
}  // namespace lg::texture

int32_t lg_build_mips_forward(lg_call* call, int32_t dtype, const void* tex, int64_t levels, int64_t images,
                              int64_t height, int64_t width, int64_t channels, void* mips) {
  if (levels < 0 || levels >= lg::texture::max_levels) return lg::texture::reject_levels(levels);
  return lg::dispatch_scalar(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    return lg::run_op(
        call, lg::texture::BuildMips<T>{
                  {images, height, width, channels}, levels, static_cast<const T*>(tex), static_cast<T*>(mips)});
  });
}

int32_t lg_build_mips_backward(lg_call* call, int32_t dtype, int64_t levels, int64_t images, int64_t height,
                               int64_t width, int64_t channels, const void* grad_mips, void* grad_tex) {
  if (levels < 0 || levels >= lg::texture::max_levels) return lg::texture::reject_levels(levels);
  return lg::dispatch_scalar(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    return lg::run_op(
        call,
        lg::texture::PullBackMips<T>{
            {images, height, width, channels}, levels, static_cast<const T*>(grad_mips), static_cast<T*>(grad_tex)});
  });
}
