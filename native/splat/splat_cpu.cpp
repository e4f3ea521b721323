// Splatting on the CPU: the C interface, and the choice of footprint and blending.
#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "lumigrad.h"
#include "parallel/with_constant.h"
#include "runtime/memory.h"
#include "runtime/status.h"
#include "runtime/threads.h"
#include "splat/backward_cpu.h"
#include "splat/footprints.h"
#include "splat/forward_cpu.h"
#include "splat/gather_cpu.h"

namespace lg {
namespace splat {
namespace {

// One `Tile` for each worker that has work.
template <class Tile>
class PerWorker {
 public:
  explicit PerWorker(int threads) : all_(static_cast<size_t>(std::max(1, threads))) {}

  template <class... Arguments>
  Tile& of(int worker, const Arguments&... arguments) {
    if (!all_[worker]) all_[worker].reset(new Tile(arguments...));
    return *all_[worker];
  }

 private:
  std::vector<std::unique_ptr<Tile>> all_;
};

template <class T>
double largest_opacity(const Scene<T>& scene) {
  const PerPrimitive<T>& o = scene.opacities;
  T most = 1;
  for (int64_t i = 0; i < o.views * o.primitives; ++i) most = o.data[i] > most ? o.data[i] : most;
  return static_cast<double>(most);
}

template <class T, class Footprint, Blend blend, int Channels>
void forward(int threads, const Scene<T>& scene, const Images<T>& out) {
  const Binned<T> binned = bin<T, Footprint>(threads, scene, false);
  const Scene<T> packed = binned.rows.scene(scene);
  const double max_opacity = blend == Blend::softmax ? largest_opacity(scene) : 1;
  PerWorker<ForwardTile<T, Footprint, blend, Channels>> tiles(threads);
  parallel_for(threads, scene.tiles.count(),
               [&](int64_t tile, int worker) { tiles.of(worker, packed, out, max_opacity).run(binned, tile); });
}

template <class T, class Footprint, Blend blend, int Channels>
void backward(int threads, const Scene<T>& scene, const ImageGradients<T>& grads, const Outputs<T>& out) {
  const Binned<T> binned = bin<T, Footprint>(threads, scene, true);
  const Scene<T> packed = binned.rows.scene(scene);
  const int64_t size = Record<Footprint>::size(scene.channels), per_tile = tile_record_size(scene.channels);
  Buffer<T> records(binned.bins.entry.size() * size), tile_records(scene.tiles.count() * per_tile);
  PerWorker<BackwardTile<T, Footprint, blend, Channels>> tiles(threads);
  parallel_for(threads, scene.tiles.count(), [&](int64_t tile, int worker) {
    T* of_entries = records.data() + binned.bins.begin[tile] * size;
    tiles.of(worker, packed, grads).run(binned, tile, of_entries, tile_records.data() + tile * per_tile);
  });
  gather<T, Footprint>(threads, scene, binned.bins, records.data(), out);
  gather_tiles(scene, tile_records.data(), out);
}

// Calls body(Type<Footprint>{}, BlendConstant<blend>{}, channels), with channels 0 for any number.
template <class T, class Body>
void choose(const Scene<T>& scene, int32_t footprint, int32_t blend, Body&& body) {
  const bool found = with_blend<T>(footprint, blend, [&](auto shape, auto blending) {
    constexpr int usual = decltype(shape)::type::extras > 0 ? 6 : 3;  // a colour and, for surfels, also the normal
    if constexpr (sizeof(T) == 4) {
      with_constant_for_speed<usual>(scene.channels, [&](auto channels) { body(shape, blending, channels); });
    } else {
      body(shape, blending, Constant<0>());
    }
  });
  if (!found) {
    throw InvalidArgument("there is no footprint %d with blend code %d", static_cast<int>(footprint),
                          static_cast<int>(blend));
  }
}

template <class T>
Scene<T> scene_of(const lg_splat_scene& in) {
  Scene<T> scene = make_scene<T>(in);
  if (in.gamma) scene.gamma = *static_cast<const T*>(in.gamma);
  return scene;
}

}  // namespace
}  // namespace splat
}  // namespace lg

int32_t lg_splat_forward(lg_call* call, int32_t dtype, const lg_splat_scene* scene, int64_t contributors, void* image,
                         void* alpha, void* depth, int32_t* median, int32_t* ids, void* weights, void* state,
                         int32_t* last) {
  using namespace lg::splat;
  return lg::dispatch(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const Scene<T> of_call = scene_of<T>(*scene);
    const Images<T> out = {static_cast<T*>(image),   static_cast<T*>(alpha), static_cast<T*>(depth), median, ids,
                           static_cast<T*>(weights), contributors,           static_cast<T*>(state), last};
    choose<T>(of_call, scene->footprint, scene->blend, [&](auto shape, auto blending, auto channels) {
      using Footprint = typename decltype(shape)::type;
      forward<T, Footprint, blending.value, channels.value>(call->threads, of_call, out);
    });
  });
}

int32_t lg_splat_backward(lg_call* call, int32_t dtype, const lg_splat_scene* scene, const void* image,
                          const void* alpha, const void* depth, const void* state, const int32_t* last,
                          const void* grad_image, const void* grad_alpha, const void* grad_depth, void* grad_positions,
                          void* grad_shapes, void* grad_depths, void* grad_opacities, void* grad_features,
                          void* grad_background, void* grad_matrix, void* grad_intrinsics, void* grad_gamma) {
  using namespace lg::splat;
  return lg::dispatch(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const Scene<T> of_call = scene_of<T>(*scene);
    const auto in = [](const void* from) { return static_cast<const T*>(from); };
    const auto to = [](void* gradient) { return static_cast<T*>(gradient); };
    const ImageGradients<T> given = {in(grad_image), in(grad_alpha), in(grad_depth),
                                     in(image),      in(alpha),      in(depth),
                                     in(state),      last,           grad_intrinsics != nullptr};
    const Outputs<T> out = {to(grad_positions), to(grad_shapes),     to(grad_depths),
                            to(grad_opacities), to(grad_features),   to(grad_background),
                            to(grad_matrix),    to(grad_intrinsics), to(grad_gamma)};
    choose<T>(of_call, scene->footprint, scene->blend, [&](auto shape, auto blending, auto channels) {
      using Footprint = typename decltype(shape)::type;
      backward<T, Footprint, blending.value, channels.value>(call->threads, of_call, given, out);
    });
  });
}
