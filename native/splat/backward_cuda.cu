// The reverse of compositing on CUDA, in the same launches as the forward pass (forward_cuda.cu): the sums and the
// launches. pull_tiles_cuda.h has the work of a tile.
#include "splat/pull_tiles_cuda.h"

namespace lg {
namespace splat {
namespace {

// A tensor of gradients, and the first of its sums.
template <class T>
struct Tensor {
  T* data;
  int64_t first_slot, size;
};

// grads: positions, shapes, depths, opacities, features, background, view, intrinsics, gamma; any null.
template <class T>
class Backward {
 public:
  Backward(const Scene<T>& scene, const ImageGradients<T>& images, const TileLists& lists, const T* gamma,
           int32_t footprint, int32_t blend, void* const* grads, bool deterministic)
      : scene_(scene),
        images_(images),
        gamma_(gamma),
        footprint_(footprint),
        blend_(blend),
        deterministic_(deterministic),
        lists_(lists),
        stride_(background_value + scene.channels),
        sums_(deterministic, std::max<int64_t>(1, slots(grads)), lists.tiles * tile_warps * launches()),
        view_sums_(deterministic, scene.tiles.views * stride_, lists.tiles * launches()),
        matrix_sums_(deterministic, scene.tiles.views * matrix_values, scene.primitives) {
    const auto to = [&](int i) { return static_cast<T*>(grads[i]); };
    position_ = to(0);
    out_ = {to(5), to(6), to(7), to(8)};
  }

  void plan(Workspace& workspace) {
    if (in_world()) in_view_ = workspace.take<T>(3 * lists_.count);
    views_ = workspace.take<double>(scene_.tiles.views * stride_);
    matrices_ = workspace.take<double>(scene_.tiles.views * matrix_values);
    sums_.plan(workspace);
    view_sums_.plan(workspace);
    matrix_sums_.plan(workspace);
    if (in_world()) tensors_[0].data = in_view_;
  }

  void run(Queue& queue) {
    for (const Tensor<T>& tensor : tensors_) {
      if (tensor.data) queue.fill_bytes(tensor.data, 0, tensor.size * static_cast<int64_t>(sizeof(T)));
    }
    clear(queue, views_, scene_.tiles.views * stride_);
    clear(queue, matrices_, scene_.tiles.views * matrix_values);
    if (deterministic_) view_sums_.clear(queue);
    sums_.run(queue, [&](const GradientSum<T>& sum) { pull(queue, sum); });
    for (const Tensor<T>& tensor : tensors_) {
      if (tensor.data) sums_.finish(queue, tensor.first_slot, tensor.size, tensor.data);
    }
    view_sums_.finish(queue, 0, scene_.tiles.views * stride_, views_);
    finish(queue);
  }

 private:
  static void clear(Queue& queue, double* data, int64_t count) {
    queue.fill_bytes(data, 0, count * static_cast<int64_t>(sizeof *data));
  }
  // At most this many launches over the tiles, each for some of the channels.
  int64_t launches() const { return divide_up(std::max<int64_t>(1, scene_.channels), 3); }
  // Points in the world reach the image through points in camera space, which differ from view to view.
  bool in_world() const { return scene_.matrix != nullptr; }
  bool wants_views() const { return out_.background || out_.intrinsics || out_.gamma; }

  // Assigns slots to the tensors of primitives, and returns the number of slots.
  int64_t slots(void* const* grads) {
    const PerPrimitive<T>* inputs[5] = {&scene_.positions, &scene_.shapes, &scene_.depths, &scene_.opacities,
                                        &scene_.features};
    int64_t slots = 0;
    for (int i = 0; i < 5; ++i) {
      const bool per_view = inputs[i]->views > 1 || (i == 0 && in_world());
      tensors_[i] = {static_cast<T*>(grads[i]), slots,
                     (per_view ? scene_.tiles.views : 1) * scene_.primitives * inputs[i]->channels};
      // A gradient that only the camera has still needs those of points in camera space.
      const bool wanted = grads[i] || (i == 0 && in_world());
      slots += wanted ? tensors_[i].size : 0;
    }
    return slots;
  }

  Target<T> target(int i, const PerPrimitive<T>& input) const {
    return {tensors_[i].data, tensors_[i].first_slot, input.channels, input.views > 1 || (i == 0 && in_world())};
  }

  void pull(Queue& queue, const GradientSum<T>& sum) {
    Compositing<T> c = {scene_, lists_, gamma_, Rules<T>(scene_.settings, false, false), 0};
    const Targets<T> targets = {target(0, scene_.positions), target(1, scene_.shapes), target(2, scene_.depths),
                                target(3, scene_.opacities), target(4, scene_.features)};
    const Pulling<T> g = {
        images_, targets, {wants_views() ? views_ : nullptr, stride_}, sum, view_sums_.in_round(sum.round)};
    choose<T>(footprint_, blend_, scene_.channels, [&](auto shape, auto blending, auto group) {
      using Footprint = typename decltype(shape)::type;
      do {
        queue.launch(pull_tiles<T, Footprint, blending.value, group.value>, dim3(static_cast<unsigned>(lists_.tiles)),
                     dim3(tile_threads), c, g, lists_.tiles);
        c.first_channel += group.value;
      } while (c.first_channel < scene_.channels);
    });
  }

  void finish(Queue& queue) {
    if (in_world()) {
      // Few enough blocks that adding up matrices, once per warp and view, is cheap.
      const auto blocks =
          static_cast<unsigned>(std::min<int64_t>(divide_up(scene_.primitives, 128), 8 * multiprocessors()));
      matrix_sums_.run(queue, [&](const GradientSum<double>& sum) {
        queue.launch(pull_places<T>, dim3(blocks), dim3(128), scene_, in_view_, position_, sum,
                     out_.matrix ? matrices_ : nullptr);
      });
      matrix_sums_.finish(queue, 0, scene_.tiles.views * matrix_values, matrices_);
    }
    const int64_t values = std::max(16 * scene_.tiles.views, scene_.background_views * scene_.channels);
    queue.launch_items(write_views<T>, std::max<int64_t>(1, values), scene_, ViewSums{views_, stride_}, matrices_,
                       out_);
  }

  Scene<T> scene_;
  ImageGradients<T> images_;
  const T* gamma_;
  int32_t footprint_, blend_;
  bool deterministic_;
  TileLists lists_;
  int64_t stride_;
  Tensor<T> tensors_[5];
  GradientSums<T> sums_;
  GradientSums<double> view_sums_, matrix_sums_;
  T *position_ = nullptr, *in_view_ = nullptr;
  ViewOutputs<T> out_{};
  double *views_ = nullptr, *matrices_ = nullptr;
};

}  // namespace
}  // namespace splat
}  // namespace lg

int32_t lg_splat_backward(lg_call* call, int32_t dtype, const lg_splat_scene* scene, const void* image,
                          const void* alpha, const void* depth, const void* state, const int32_t* last,
                          const void* grad_image, const void* grad_alpha, const void* grad_depth, void* grad_positions,
                          void* grad_shapes, void* grad_depths, void* grad_opacities, void* grad_features,
                          void* grad_background, void* grad_matrix, void* grad_intrinsics, void* grad_gamma) {
  return lg::dispatch_scalar(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    using namespace lg::splat;
    const Scene<T> of_call = make_scene<T>(*scene);
    const int32_t status = check_splats<T>(of_call, scene->footprint, scene->blend);
    if (status != LG_OK) return status;
    const auto in = [](const void* from) { return static_cast<const T*>(from); };
    const ImageGradients<T> given = {in(grad_image), in(grad_alpha), in(grad_depth),
                                     in(image),      in(alpha),      in(depth),
                                     in(state),      last,           grad_intrinsics != nullptr};
    const TileLists lists(last, of_call.tiles.views * of_call.primitives, of_call.tiles);
    void* const grads[9] = {grad_positions,  grad_shapes, grad_depths,     grad_opacities, grad_features,
                            grad_background, grad_matrix, grad_intrinsics, grad_gamma};
    return lg::run_op(call, Backward<T>(of_call, given, lists, static_cast<const T*>(scene->gamma), scene->footprint,
                                        scene->blend, grads, call->deterministic != 0));
  });
}
