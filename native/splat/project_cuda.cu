// Projection of Gaussians and surfels on CUDA.
//
// Compiled without fused multiply-add: depths, which decide the order, are those of the CPU bit for bit.
#include <cstring>
#include <limits>

#include "parallel/gradients_cuda.h"
#include "runtime/cuda/launch.h"
#include "splat/project_kinds.h"

namespace lg {
namespace splat {
namespace {

template <class T>
struct Inputs {
  const T *means, *quats, *scales, *view, *intrinsics;
  double settings[6];
  int64_t views, count;

  LG_DEVICE View view_at(int64_t v) const { return view_of(view, intrinsics, settings, v); }
};

// Per primitive of each view, with Kind::size() values. Gradients, here and below, may be null.
template <class Pointer>
struct OnScreen {
  Pointer output[4];
};

template <class Kind, class T>
__global__ void __launch_bounds__(items_per_block) project(const __grid_constant__ Inputs<T> in, OnScreen<T*> to) {
  for (int64_t i = first_item(); i < in.views * in.count; i += item_step()) {
    const int64_t v = i / in.count, p = i - v * in.count;
    typename Kind::Projected out{};
    out.depth = std::numeric_limits<double>::quiet_NaN();
    Kind::project(in.view_at(v), in.means + 3 * p, in.quats + 4 * p, in.scales + Kind::scales * p, &out);
    double values[sizeof out / sizeof(double)];
    std::memcpy(values, &out, sizeof out);
    for_outputs<Kind>(i, [&](int k, int64_t place, int from, int size) {
      LG_UNROLL
      for (int c = 0; c < size; ++c) to.output[k][place + c] = T(values[from + c]);
    });
  }
}

template <class T>
struct Gradients {
  T *means, *quats, *scales, *view, *intrinsics;
};

template <class Kind, class T>
LG_DEVICE typename Kind::Projected gradient_of(const OnScreen<const T*>& given, int64_t i) {
  double values[sizeof(typename Kind::Projected) / sizeof(double)] = {};
  for_outputs<Kind>(i, [&](int k, int64_t place, int from, int size) {
    LG_UNROLL
    for (int c = 0; c < size; ++c) {
      if (given.output[k]) values[from + c] = double(given.output[k][place + c]);
    }
  });
  typename Kind::Projected out;
  std::memcpy(&out, values, sizeof out);
  return out;
}

constexpr int camera_values = 16;  // per view: 9 of its rotation, 3 of its translation, 4 of its intrinsics

// A thread processes the same primitives in all views, one view after another. camera [views, camera_values]
template <class Kind, class T>
__global__ void __launch_bounds__(128) pull(const __grid_constant__ Inputs<T> in, OnScreen<const T*> given,
                                            Gradients<T> to, GradientSum<double> sum, double* camera) {
  for (int64_t v = 0; v < in.views; ++v) {
    const View view = in.view_at(v);
    ViewGradient of_view{};
    for (int64_t p = first_item(); p < in.count; p += item_step()) {
      typename Kind::Gradient g{};
      Kind::pull(view, in.means + 3 * p, in.quats + 4 * p, in.scales + Kind::scales * p,
                 gradient_of<Kind>(given, v * in.count + p), &g, &of_view);
      for (int k = 0; to.means && k < 3; ++k) to.means[3 * p + k] = (v ? to.means[3 * p + k] : T(0)) + T(g.mean[k]);
      for (int k = 0; to.quats && k < 4; ++k) to.quats[4 * p + k] = (v ? to.quats[4 * p + k] : T(0)) + T(g.quat[k]);
      for (int k = 0; to.scales && k < Kind::scales; ++k) {
        T& scale = to.scales[Kind::scales * p + k];
        scale = (v ? scale : T(0)) + T(g.scale[k]);
      }
    }
    double values[camera_values];
    for (int k = 0; k < 9; ++k) values[k] = of_view.rotation[k];
    for (int k = 0; k < 3; ++k) values[9 + k] = of_view.translation[k];
    for (int k = 0; k < 4; ++k) values[12 + k] = of_view.intrinsics[k];
    add_up_warp(values);
    if (lane_id() != 0) continue;
    for (int k = 0; k < camera_values; ++k) {
      sum.add(camera + v * camera_values + k, v * camera_values + k, values[k]);
    }
  }
}

template <class T>
__global__ void write_camera(const double* camera, int64_t views, Gradients<T> to) {
  for (int64_t v = first_item(); v < views; v += item_step()) {
    const double* from = camera + v * camera_values;
    for (int i = 0; to.view && i < 4; ++i) {
      const double sign = i == 0 ? 1 : -1;  // as in view_of()
      for (int k = 0; k < 3; ++k) to.view[16 * v + 4 * i + k] = T(i < 3 ? sign * from[3 * i + k] : 0.0);
      to.view[16 * v + 4 * i + 3] = T(i < 3 ? sign * from[9 + i] : 0.0);
    }
    for (int i = 0; to.intrinsics && i < 4; ++i) to.intrinsics[4 * v + i] = T(from[12 + i]);
  }
}

template <class Kind, class T>
struct Forward {
  Inputs<T> in;
  OnScreen<T*> out;

  void plan(Workspace&) {}
  void run(Queue& queue) { queue.launch_items(project<Kind, T>, in.views * in.count, in, out); }
};

template <class Kind, class T>
struct Backward {
  Inputs<T> in;
  OnScreen<const T*> given;
  Gradients<T> out;
  GradientSums<double> sums;
  double* camera = nullptr;

  int64_t places() const { return in.views * camera_values; }
  void plan(Workspace& workspace) {
    camera = workspace.take<double>(places());
    sums.plan(workspace);
  }
  void run(Queue& queue) {
    queue.fill_bytes(camera, 0, places() * static_cast<int64_t>(sizeof *camera));
    // Few enough blocks that adding up the camera's gradients, once per warp and view, is cheap.
    const int64_t blocks = std::min<int64_t>(divide_up(in.count, 128), 8 * multiprocessors());
    sums.run(queue, [&](const GradientSum<double>& sum) {
      queue.launch(pull<Kind, T>, dim3(static_cast<unsigned>(blocks)), dim3(128), in, given, out, sum, camera);
    });
    sums.finish(queue, 0, places(), camera);
    queue.launch_items(write_camera<T>, in.views, camera, in.views, out);
  }
};

template <class T>
Inputs<T> inputs_of(const void* const* inputs, const double* settings, int64_t views, int64_t count) {
  const auto at = [&](int i) { return static_cast<const T*>(inputs[i]); };
  Inputs<T> in = {at(0), at(1), at(2), at(3), at(4), {}, views, count};
  std::copy_n(settings, 6, in.settings);
  return in;
}

template <class Kind>
int32_t project_all(lg_call* call, int32_t dtype, const void* const* inputs, const double* settings, int64_t views,
                    int64_t count, void* const* outputs) {
  return dispatch_scalar(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const auto to = [&](int i) { return static_cast<T*>(outputs[i]); };
    return run_op(call, Forward<Kind, T>{inputs_of<T>(inputs, settings, views, count), {{to(0), to(1), to(2), to(3)}}});
  });
}

template <class Kind>
int32_t pull_all(lg_call* call, int32_t dtype, const void* const* inputs, const double* settings, int64_t views,
                 int64_t count, const void* const* grad_outputs, void* const* grads) {
  return dispatch_scalar(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const auto given = [&](int i) { return static_cast<const T*>(grad_outputs[i]); };
    const auto to = [&](int i) { return static_cast<T*>(grads[i]); };
    return run_op(call, Backward<Kind, T>{inputs_of<T>(inputs, settings, views, count),
                                          {{given(0), given(1), given(2), given(3)}},
                                          {to(0), to(1), to(2), to(3), to(4)},
                                          {call->deterministic != 0, views * camera_values, count}});
  });
}

}  // namespace
}  // namespace splat
}  // namespace lg

int32_t lg_project_gaussians_forward(lg_call* call, int32_t dtype, const void* means, const void* quats,
                                     const void* scales, const void* matrix, const void* intrinsics, int64_t views,
                                     int64_t count, int64_t height, int64_t width, double blur, double near, double far,
                                     int32_t orthographic, void* xy, void* conics, void* depths, void* compensations) {
  const void* const inputs[5] = {means, quats, scales, matrix, intrinsics};
  const double settings[6] = {double(height), double(width), blur, near, far, double(orthographic)};
  void* const outputs[4] = {xy, conics, depths, compensations};
  return lg::splat::project_all<lg::splat::GaussianKind>(call, dtype, inputs, settings, views, count, outputs);
}

int32_t lg_project_gaussians_backward(lg_call* call, int32_t dtype, const void* means, const void* quats,
                                      const void* scales, const void* matrix, const void* intrinsics, int64_t views,
                                      int64_t count, int64_t height, int64_t width, double blur, double near,
                                      double far, int32_t orthographic, const void* grad_xy, const void* grad_conics,
                                      const void* grad_depths, const void* grad_compensations, void* grad_means,
                                      void* grad_quats, void* grad_scales, void* grad_matrix, void* grad_intrinsics) {
  const void* const inputs[5] = {means, quats, scales, matrix, intrinsics};
  const double settings[6] = {double(height), double(width), blur, near, far, double(orthographic)};
  const void* const given[4] = {grad_xy, grad_conics, grad_depths, grad_compensations};
  void* const grads[5] = {grad_means, grad_quats, grad_scales, grad_matrix, grad_intrinsics};
  return lg::splat::pull_all<lg::splat::GaussianKind>(call, dtype, inputs, settings, views, count, given, grads);
}

int32_t lg_project_surfels_forward(lg_call* call, int32_t dtype, const void* means, const void* quats,
                                   const void* scales, const void* matrix, const void* intrinsics, int64_t views,
                                   int64_t count, double near, double far, int32_t orthographic, void* xy, void* shapes,
                                   void* depths, void* normals) {
  const void* const inputs[5] = {means, quats, scales, matrix, intrinsics};
  const double settings[6] = {0, 0, 0, near, far, double(orthographic)};
  void* const outputs[4] = {xy, shapes, depths, normals};
  return lg::splat::project_all<lg::splat::SurfelKind>(call, dtype, inputs, settings, views, count, outputs);
}

int32_t lg_project_surfels_backward(lg_call* call, int32_t dtype, const void* means, const void* quats,
                                    const void* scales, const void* matrix, const void* intrinsics, int64_t views,
                                    int64_t count, double near, double far, int32_t orthographic, const void* grad_xy,
                                    const void* grad_shapes, const void* grad_depths, const void* grad_normals,
                                    void* grad_means, void* grad_quats, void* grad_scales, void* grad_matrix,
                                    void* grad_intrinsics) {
  const void* const inputs[5] = {means, quats, scales, matrix, intrinsics};
  const double settings[6] = {0, 0, 0, near, far, double(orthographic)};
  const void* const given[4] = {grad_xy, grad_shapes, grad_depths, grad_normals};
  void* const grads[5] = {grad_means, grad_quats, grad_scales, grad_matrix, grad_intrinsics};
  return lg::splat::pull_all<lg::splat::SurfelKind>(call, dtype, inputs, settings, views, count, given, grads);
}
