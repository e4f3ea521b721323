// Soft images without fragments on CUDA: a warp meets the faces near its 8 x 4 pixels in the order of their numbers, as
// the CPU does, and mixes them into the pixels' numbers, which stay in registers.
//
// Backward, the warp meets them again. What its pixels give a face is added up across the warp; then each lane brings
// the sums of the face that it set up to its vertices, 32 faces side by side.
#include "parallel/gradients_cuda.h"
#include "parallel/mesh_index.h"
#include "runtime/cuda/launch.h"
#include "soft/blend.h"
#include "soft/fragments.h"
#include "soft/near_faces_cuda.h"

namespace lg::soft {
namespace {

constexpr int mixed_channels = 4;    // in one round over the faces
constexpr int summed_channels = 10;  // three values each in one addition across the warp

template <class T>
struct Blend {
  SoftScene<T> scene;
  BlendRequest<T> r;
  SoftFalloff falloff;
  T blur;

  LG_DEVICE SoftProbability<T> probability(T dist, bool inside) const {
    return falloff == soft_exponential ? soft_probability<soft_exponential>(dist, inside, r.inverse_sigma)
                                       : soft_probability<soft_sigmoid>(dist, inside, r.inverse_sigma);
  }
  LG_DEVICE T transmittance_slope(const SoftProbability<T>& at, bool inside, T transmittance) const {
    return falloff == soft_exponential
               ? soft_transmittance_slope<soft_exponential>(at, inside, transmittance, r.inverse_sigma)
               : soft_transmittance_slope<soft_sigmoid>(at, inside, transmittance, r.inverse_sigma);
  }
};

// A face as one pixel sees it.
template <class T>
struct Sight {
  SoftPlace<T> place;
  SoftWeights<T> weights;  // only if asked for
  bool inside;
  SoftProbability<T> at;
  T nearness, decay, weight;  // see weigh()
};

// False where the face has no part in the pixel.
template <bool Weights, class T>
LG_DEVICE bool see(const Blend<T>& blend, const SoftFace<T>& face, const WarpPixels<T>& pixel, Sight<T>& out) {
  soft_locate_in(face, pixel.x, pixel.y, out.place);
  out.inside = out.place.inner >= 0;
  if (!(out.inside || out.place.dist < blend.blur)) return false;
  if (Weights || face.edges == 4) {
    soft_weigh<true>(face, out.place.line, out.weights);
    if (!out.weights.valid) return false;
  }
  out.at = blend.probability(out.place.dist, out.inside);
  return true;
}

// The face's weight among the colours.
template <class T>
LG_DEVICE void weigh(const BlendRequest<T>& r, T nearest, Sight<T>& out) {
  out.nearness = r.nearness(out.weights);
  out.decay = soft_exp(soft_min((out.nearness - nearest) * r.inverse_gamma, T(0)));
  out.weight = out.at.p * out.decay;
}

// The attributes of a face's corners; its indices are right, or it would have no box.
template <class T>
struct CornerAttributes {
  const T* corner[3];

  LG_DEVICE CornerAttributes(const BlendRequest<T>& r, int64_t view, int32_t face) {
    for (int k = 0; k < 3; ++k) {
      corner[k] = r.attr + r.attr_row(view, r.attr_tri[3 * static_cast<int64_t>(face) + k]) * r.channels;
    }
  }
  LG_DEVICE T mixed(const T* bary, int64_t c) const {
    return (bary[0] * corner[0][c] + bary[1] * corner[1][c]) + bary[2] * corner[2][c];
  }
};

// ---- Forward -----------------------------------------------------------------------------------------------

// Colours [first, first + mixed_channels) of a pixel, not yet divided by the total; the weights if asked for.
template <class T>
LG_DEVICE void mix(const Blend<T>& blend, const FaceBoxes& boxes, int64_t view, const WarpPixels<T>& at,
                   WarpFaces<T>& faces, T nearest, int64_t first, T (&sum)[mixed_channels], T* total) {
  for_near_faces(blend.scene, boxes, view, at, faces, [&](const WarpFace<T>& f) {
    Sight<T> sight;
    if (!see<true>(blend, f.face, at, sight)) return;
    weigh(blend.r, nearest, sight);
    if (total) *total += sight.weight;
    const CornerAttributes<T> attr(blend.r, view, f.number);
#pragma unroll
    for (int i = 0; i < mixed_channels; ++i) {
      if (first + i < blend.r.channels) sum[i] += sight.weight * attr.mixed(sight.weights.bary, first + i);
    }
  });
}

template <bool Colors, class T>
__global__ void __launch_bounds__(soft_threads) blend_pixels(Blend<T> blend, FaceBoxes boxes, BlendImages<T> out) {
  __shared__ WarpFaces<T> shared[soft_warps];
  WarpFaces<T>& faces = shared[threadIdx.x / warp_size];
  const SoftScene<T>& scene = blend.scene;
  const BlendRequest<T>& r = blend.r;
  const WarpPixels<T> at(scene, soft_blend_tile_size);
  for (int64_t view = blockIdx.z; view < scene.views; view += gridDim.z) {
    const int64_t pixel = at.pixel(scene, view);
    T transmittance = 1, nearest = r.eps;
    for_near_faces(scene, boxes, view, at, faces, [&](const WarpFace<T>& f) {
      Sight<T> sight;
      if (!see<Colors>(blend, f.face, at, sight)) return;
      transmittance *= sight.at.rest;
      if (Colors) nearest = soft_max(nearest, r.nearness(sight.weights));
    });
    if (at.inside) out.transmittance[pixel] = transmittance;
    if (!Colors) continue;
    const T behind = r.weight_behind(nearest);
    T total = behind, inverse = 0;
    for (int64_t first = 0; first == 0 || first < r.channels; first += mixed_channels) {
      T sum[mixed_channels] = {};
      mix(blend, boxes, view, at, faces, nearest, first, sum, first == 0 ? &total : nullptr);
      inverse = total > 0 ? 1 / total : T(0);
#pragma unroll
      for (int i = 0; i < mixed_channels; ++i) {
        if (at.inside && first + i < r.channels) out.color[pixel * r.channels + first + i] = sum[i] * inverse;
      }
    }
    if (!at.inside) continue;
    out.nearest[pixel] = nearest;
    out.total[pixel] = total;
    out.behind[pixel] = behind * inverse;
  }
}

template <class T>
struct Forward {
  Blend<T> blend;
  FaceBoxPass boxes;
  BlendImages<T> out;

  void plan(Workspace& workspace) { boxes.plan(workspace); }
  void run(Queue& queue) {
    const SoftScene<T>& scene = blend.scene;
    const FaceBoxes found = boxes.run(queue, scene, blend.r.attr_tri, blend.r.attr_vertices);
    queue.launch(blend.r.colors() ? blend_pixels<true, T> : blend_pixels<false, T>,
                 soft_grid(scene.views, scene.height, scene.width), dim3(soft_threads), blend, found, out);
  }
};

// ---- Backward ----------------------------------------------------------------------------------------------

template <bool Colors>
constexpr int face_sums = Colors ? 32 : soft_edge_sums;  // as many as warps add up at once

// Sums of a silhouette's face from one pixel.
template <class T>
LG_DEVICE void pull_back_silhouette(const Blend<T>& blend, const SoftFace<T>& face, const WarpPixels<T>& at,
                                    const Sight<T>& sight, const BlendPixel<T>& pixel, T (&value)[face_sums<false>]) {
  const T grad_dist = pixel.grad * blend.transmittance_slope(sight.at, sight.inside, pixel.transmittance);
  const auto add = [&](int k, T part) { value[k] += part; };
  face.edges == 3 ? soft_distance_gradient<3>(face, at.x, at.y, sight.place, grad_dist, add)
                  : soft_distance_gradient<4>(face, at.x, at.y, sight.place, grad_dist, add);
}

// The same with colours. dot: the gradient of the face's own colour less `base`; grad_bary: that of its weights.
template <class T>
LG_DEVICE void pull_back_colors(const Blend<T>& blend, const SoftFace<T>& face, const WarpPixels<T>& at,
                                const Sight<T>& sight, const BlendPixel<T>& pixel, T dot, const T (&grad_bary)[3],
                                T (&value)[face_sums<true>]) {
  const BlendRequest<T>& r = blend.r;
  const T grad_weight = dot * pixel.inverse_total;
  const T slope_p = sight.at.p * sight.at.rest * (sight.inside ? r.inverse_sigma : -r.inverse_sigma);
  const T grad_dist = pixel.grad * blend.transmittance_slope(sight.at, sight.inside, pixel.transmittance) +
                      grad_weight * sight.decay * slope_p;
  const auto add = [&](int k, T part) { value[k] += part; };
  face.edges == 3 ? soft_distance_gradient<3>(face, at.x, at.y, sight.place, grad_dist, add)
                  : soft_distance_gradient<4>(face, at.x, at.y, sight.place, grad_dist, add);
  const T grad_nearness =
      grad_weight * sight.weight * r.inverse_gamma + (sight.nearness == pixel.nearest ? pixel.grad_nearest : T(0));
  soft_weight_gradient<true>(face, sight.place.line, sight.weights, at.px, at.py, grad_bary,
                             r.nearness.grad_z(grad_nearness), r.nearness.grad_below(grad_nearness), add);
}

template <class T>
struct BackwardPass {
  Blend<T> blend;
  FaceBoxes boxes;
  BlendImages<T> images;
  BlendGradients<T> grads;
  MeshIndex mesh;
  GradientSum<T> sum;
};

// Gradients of a face's attributes, added up across the warp; and what its colours mean for its place. All lanes come
// here, those with counts == false add nothing.
template <class T>
LG_DEVICE void pull_back_attributes(const BackwardPass<T>& pass, int64_t view, int32_t number, int64_t index,
                                    bool counts, const Sight<T>& sight, const BlendPixel<T>& pixel, T* dot,
                                    T (&grad_bary)[3]) {
  const BlendRequest<T>& r = pass.blend.r;
  const CornerAttributes<T> attr(r, view, number);
  for (int64_t first = 0; first < r.channels; first += summed_channels) {
    T value[32] = {};
#pragma unroll
    for (int i = 0; i < summed_channels; ++i) {
      const int64_t c = first + i;
      const T grad = counts && c < r.channels && pass.grads.color ? pass.grads.color[index * r.channels + c] : T(0);
      if (grad == 0) continue;
      const T share = grad * sight.weight * pixel.inverse_total;
      *dot += grad * attr.mixed(sight.weights.bary, c);
      for (int k = 0; k < 3; ++k) {
        grad_bary[k] += share * attr.corner[k][c];
        value[3 * i + k] = share * sight.weights.bary[k];
      }
    }
    if (!pass.grads.attr) continue;
    const T total = warp_totals(value);
    const auto lane = static_cast<int>(lane_id());
    const int64_t c = first + lane / 3;
    if (lane >= 3 * summed_channels || c >= r.channels) continue;
    const int32_t vertex = r.attr_tri[3 * static_cast<int64_t>(number) + lane % 3];
    const int64_t place = r.attr_row(view, vertex) * r.channels + c;
    pass.sum.add(pass.grads.attr + place, 4 * pass.blend.scene.rows() + place, total);
  }
}

template <bool Colors, class T>
__global__ void __launch_bounds__(soft_threads) backward_pixels(BackwardPass<T> pass) {
  __shared__ WarpFaces<T> shared[soft_warps];
  __shared__ T shared_sums[soft_warps][32][soft_sums];
  WarpFaces<T>& faces = shared[threadIdx.x / warp_size];
  T(&sums)[32][soft_sums] = shared_sums[threadIdx.x / warp_size];
  const Blend<T>& blend = pass.blend;
  const SoftScene<T>& scene = blend.scene;
  const WarpPixels<T> at(scene, soft_blend_tile_size);
  const auto lane = static_cast<int>(lane_id());
  for (int64_t view = blockIdx.z; view < scene.views; view += gridDim.z) {
    const int64_t index = at.pixel(scene, view);
    BlendPixel<T> pixel = {};
    if (at.inside) pixel = read_blend_pixel(blend.r, pass.images, pass.grads, index);
    if (!warp_any(pixel.live)) continue;
    NearFaces near(pass.boxes, view, at.part, faces.waiting);
    SoftFrame frame;
    while (const int count = near.next()) {
      uint32_t met = 0;
      for (uint32_t mask = set_up(scene, view, at, count, faces, frame); mask; mask &= mask - 1) {
        const int i = lowest_bit(mask);
        const SoftFace<T>& face = faces.face[i].face;
        Sight<T> sight;
        const bool counts = pixel.live && see<Colors>(blend, face, at, sight);
        if (!warp_any(counts)) continue;
        met |= 1u << i;
        T value[face_sums<Colors>] = {};
        if constexpr (Colors) {
          T dot = -pixel.base, grad_bary[3] = {0, 0, 0};
          if (counts) weigh(blend.r, pixel.nearest, sight);
          pull_back_attributes(pass, view, faces.face[i].number, index, counts, sight, pixel, &dot, grad_bary);
          if (counts) pull_back_colors(blend, face, at, sight, pixel, dot, grad_bary, value);
        } else if (counts) {
          pull_back_silhouette(blend, face, at, sight, pixel, value);
        }
        const T total = warp_totals(value);
        if (lane < (Colors ? soft_sums : soft_edge_sums)) sums[i][lane] = total;
      }
      warp_sync();
      int64_t row[3];
      if (!pass.grads.pos || !(met >> lane & 1) || !pass.mesh.rows(view, faces.face[lane].number, row)) continue;
      T vertex[12];
      soft_finish(frame, scene.viewport, scene.flags, sums[lane], Colors, vertex);
      add_to_corners(pass.sum, pass.grads.pos, row, vertex);
    }
  }
}

template <class T>
struct Backward {
  Blend<T> blend;
  FaceBoxPass boxes;
  BlendImages<T> images;
  BlendGradients<T> grads;
  GradientSums<T> sums;

  int64_t places() const { return 4 * blend.scene.rows(); }
  int64_t attr_places() const { return grads.attr ? blend.r.attr_views * blend.r.attr_vertices * blend.r.channels : 0; }

  void plan(Workspace& workspace) {
    boxes.plan(workspace);
    sums.plan(workspace);
  }
  void run(Queue& queue) {
    const SoftScene<T>& scene = blend.scene;
    const auto bytes = static_cast<int64_t>(sizeof(T));
    if (grads.pos) queue.fill_bytes(grads.pos, 0, places() * bytes);
    queue.fill_bytes(grads.attr, 0, attr_places() * bytes);
    const MeshIndex mesh = {scene.tri, scene.vertices, scene.triangles, scene.shared};
    const FaceBoxes found = boxes.run(queue, scene, blend.r.attr_tri, blend.r.attr_vertices);
    sums.run(queue, [&](const GradientSum<T>& sum) {
      const BackwardPass<T> pass = {blend, found, images, grads, mesh, sum};
      queue.launch(blend.r.colors() ? backward_pixels<true, T> : backward_pixels<false, T>,
                   soft_grid(scene.views, scene.height, scene.width), dim3(soft_threads), pass);
    });
    if (grads.pos) sums.finish(queue, 0, places(), grads.pos);
    sums.finish(queue, places(), attr_places(), grads.attr);
  }
};

template <class T>
GradientSums<T> gradient_sums(const lg_call& call, const SoftScene<T>& scene, const BlendRequest<T>& r,
                              bool attributes) {
  const int64_t slots = 4 * scene.rows() + (attributes ? r.attr_views * r.attr_vertices * r.channels : 0);
  // Every warp may add to a vertex through every corner of every face: no bound of any use.
  return {call.deterministic != 0, slots, 0};
}

template <class T>
Blend<T> make_blend(const SoftScene<T>& scene, const BlendRequest<T>& r, int32_t falloff) {
  return {scene, r, falloff == soft_exponential ? soft_exponential : soft_sigmoid, static_cast<T>(scene.blur)};
}

}  // namespace
}  // namespace lg::soft

int32_t lg_soft_blend_forward(lg_call* call, int32_t dtype, const void* pos, const int32_t* tri, const int64_t* ranges,
                              int64_t views, int64_t vertices, int64_t triangles, int64_t height, int64_t width,
                              double blur_radius, int32_t flags, int32_t falloff, double sigma, double gamma,
                              double eps, double min_behind, double near, double far, const void* attr,
                              const int32_t* attr_tri, int64_t attr_views, int64_t attr_vertices, int64_t channels,
                              void* transmittance, void* color, void* behind, void* nearest, void* total) {
  const int32_t failure = lg::reject_views(ranges, views, triangles, height, width, lg::soft::soft_max_resolution);
  if (failure != LG_OK) return failure;
  return lg::dispatch_scalar(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const auto scene = lg::soft::make_soft_scene<T>(pos, tri, nullptr, ranges != nullptr, views, vertices, triangles,
                                                    height, width, blur_radius, flags);
    const auto request = lg::soft::make_blend_request<T>(sigma, gamma, eps, min_behind, near, far, attr, attr_tri,
                                                         attr_views, attr_vertices, channels);
    const auto images = lg::soft::make_blend_images<T>(transmittance, color, behind, nearest, total);
    return lg::run_op(
        call, lg::soft::Forward<T>{
                  lg::soft::make_blend(scene, request, falloff), {ranges, views, triangles, height, width}, images});
  });
}

int32_t lg_soft_blend_backward(lg_call* call, int32_t dtype, const void* pos, const int32_t* tri, const int64_t* ranges,
                               int64_t views, int64_t vertices, int64_t triangles, int64_t height, int64_t width,
                               double blur_radius, int32_t flags, int32_t falloff, double sigma, double gamma,
                               double eps, double min_behind, double near, double far, const void* attr,
                               const int32_t* attr_tri, int64_t attr_views, int64_t attr_vertices, int64_t channels,
                               const void* transmittance, const void* color, const void* behind, const void* nearest,
                               const void* total, const void* grad_transmittance, const void* grad_color,
                               const void* grad_behind, void* grad_pos, void* grad_attr) {
  const int32_t failure = lg::reject_views(ranges, views, triangles, height, width, lg::soft::soft_max_resolution);
  if (failure != LG_OK) return failure;
  return lg::dispatch_scalar(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const auto scene = lg::soft::make_soft_scene<T>(pos, tri, nullptr, ranges != nullptr, views, vertices, triangles,
                                                    height, width, blur_radius, flags);
    const auto request = lg::soft::make_blend_request<T>(sigma, gamma, eps, min_behind, near, far, attr, attr_tri,
                                                         attr_views, attr_vertices, channels);
    const lg::soft::BlendGradients<T> grads = {static_cast<const T*>(grad_transmittance),
                                               static_cast<const T*>(grad_color), static_cast<const T*>(grad_behind),
                                               static_cast<T*>(grad_pos), static_cast<T*>(grad_attr)};
    return lg::run_op(
        call, lg::soft::Backward<T>{lg::soft::make_blend(scene, request, falloff),
                                    {ranges, views, triangles, height, width},
                                    lg::soft::make_blend_images<T>(transmittance, color, behind, nearest, total),
                                    grads,
                                    lg::soft::gradient_sums(*call, scene, request, grad_attr != nullptr)});
  });
}
