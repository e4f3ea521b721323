// Soft images without fragments on CUDA. A warp goes through the faces near its 8 x 4 pixels in the order of their
// indices, as the CPU does, and blends them into the pixels' values, which stay in registers.
//
// In the backward pass, the warp goes through them again. The gradients of a face are summed over the warp's pixels.
// Then each lane converts the sums of the face that it set up to gradients of the face's vertices, 32 faces in
// parallel.
#include "parallel/gradients_cuda.h"
#include "runtime/cuda/launch.h"
#include "soft/blend.h"
#include "soft/fragments.h"
#include "soft/near_faces_cuda.h"
#include "soft/vertex_gradients.h"

namespace lg::soft {
namespace {

constexpr int mixed_channels = 4;    // per pass over the faces
constexpr int summed_channels = 10;  // per sum over the warp, three values each

template <class T>
struct Blend {
  Scene<T> scene;
  BlendRequest<T> r;
  Falloff falloff;
  T blur;
};

// The values of a face at one pixel.
template <class T>
struct Sight {
  Place<T> place;
  Weights<T> weights;  // only if requested
  FaceBlend<T> blend;  // nearness and weight: see weigh_face()

  LG_DEVICE T outside() const { return blend.inside ? T(0) : place.dist; }
};

// Returns false if the face does not contribute to the pixel. Weighed: whether to compute the weights.
template <bool Weighed, class T>
LG_DEVICE bool see(const Blend<T>& blend, const Face<T>& face, const WarpPixels<T>& pixel, Sight<T>& out) {
  locate_any(face, pixel.x, pixel.y, out.place);
  if (!out.place.is_near(blend.blur)) return false;
  if (Weighed || face.edges == 4) {
    weigh<true>(face, out.place.line, out.weights);
    if (!out.weights.valid) return false;
  }
  out.blend.inside = out.place.inner >= 0;
  out.blend.at = probability_of(blend.falloff, out.place.dist, out.blend.inside, blend.r.inverse_sigma);
  return true;
}

// Computes the face's weight in the colour.
template <class T>
LG_DEVICE void weigh_face(const BlendRequest<T>& r, T nearest, Sight<T>& out) {
  out.blend.nearness = r.nearness(out.weights);
  out.blend.weight = r.weight(out.blend.at, out.blend.nearness, out.outside(), nearest);
}

// The attributes of a face's corners. Their indices are valid, because a face with an invalid index has no box.
template <class T>
struct CornerAttributes {
  const T* corner[3];

  LG_DEVICE CornerAttributes(const BlendRequest<T>& r, int64_t view, int32_t face) {
    for (int k = 0; k < 3; ++k) {
      corner[k] = r.attr + r.attr_row(view, r.attr_tri[3 * static_cast<int64_t>(face) + k]) * r.channels;
    }
  }
  LG_DEVICE T mixed(const T* bary, int64_t c) const {
    return mix_corners(bary, corner[0][c], corner[1][c], corner[2][c]);
  }
};

// ---- Forward -----------------------------------------------------------------------------------------------

// Sums channels [first, first + mixed_channels) of a pixel, not yet divided by the total weight, and the total weight
// if requested.
template <class T>
LG_DEVICE void mix(const Blend<T>& blend, const FaceBoxes& boxes, int64_t view, const WarpPixels<T>& at,
                   WarpFaces<T>& faces, T nearest, int64_t first, T (&sum)[mixed_channels], T* total) {
  for_near_faces(blend.scene, boxes, view, at, faces, [&](const WarpFace<T>& f) {
    Sight<T> sight;
    if (!see<true>(blend, f.face, at, sight)) return;
    weigh_face(blend.r, nearest, sight);
    if (total) *total += sight.blend.weight;
    const CornerAttributes<T> attr(blend.r, view, f.number);
#pragma unroll
    for (int i = 0; i < mixed_channels; ++i) {
      if (first + i < blend.r.channels) sum[i] += sight.blend.weight * attr.mixed(sight.weights.bary, first + i);
    }
  });
}

template <bool Colors, class T>
__global__ void __launch_bounds__(threads_per_block) blend_pixels(Blend<T> blend, FaceBoxes boxes, BlendImages<T> out) {
  __shared__ WarpFaces<T> shared[warps_per_block];
  WarpFaces<T>& faces = shared[threadIdx.x / warp_size];
  const Scene<T>& scene = blend.scene;
  const BlendRequest<T>& r = blend.r;
  const WarpPixels<T> at(scene, blend_tile_size);
  for (int64_t view = blockIdx.z; view < scene.image.views; view += gridDim.z) {
    const int64_t pixel = at.pixel(scene, view);
    T transmittance = 1, nearest = r.eps;
    for_near_faces(scene, boxes, view, at, faces, [&](const WarpFace<T>& f) {
      Sight<T> sight;
      if (!see<Colors>(blend, f.face, at, sight)) return;
      transmittance *= sight.blend.at.rest;
      if (Colors) nearest = maximum(nearest, r.rank(r.nearness(sight.weights), sight.outside()));
    });
    if (at.inside) out.transmittance[pixel] = transmittance;
    if (!Colors) continue;
    T total = r.weight_behind(nearest), inverse = 0;
    for (int64_t first = 0; first == 0 || first < r.channels; first += mixed_channels) {
      T sum[mixed_channels] = {};
      mix(blend, boxes, view, at, faces, nearest, first, sum, first == 0 ? &total : nullptr);
      if (!at.inside) continue;
      if (first == 0) inverse = out.write_total(r, pixel, nearest, total);
#pragma unroll
      for (int i = 0; i < mixed_channels; ++i) {
        if (first + i < r.channels) out.color[pixel * r.channels + first + i] = sum[i] * inverse;
      }
    }
  }
}

template <class T>
struct Forward {
  Blend<T> blend;
  FaceBoxPass boxes;
  BlendImages<T> out;

  void plan(Workspace& workspace) { boxes.plan(workspace); }
  void run(Queue& queue) {
    const Scene<T>& scene = blend.scene;
    const FaceBoxes found = boxes.run(queue, scene, blend.r.attr_tri, blend.r.attr_vertices);
    queue.launch(blend.r.colors() ? blend_pixels<true, T> : blend_pixels<false, T>,
                 pixel_grid(scene.image.views, scene.image.height, scene.image.width), dim3(threads_per_block), blend,
                 found, out);
  }
};

// ---- Backward ----------------------------------------------------------------------------------------------

template <bool Colors>
constexpr int face_sums = Colors ? 32 : edge_sums;  // as many as a warp sums at once

// Adds the gradient of the squared distance to a face's sums.
template <int N, class T>
LG_DEVICE void add_distance_gradient(const Face<T>& face, const WarpPixels<T>& at, const Place<T>& place, T grad,
                                     T (&value)[N]) {
  const auto add = [&](int k, T part) { value[k] += part; };
  face.edges == 3 ? distance_gradient<3>(face, at.x, at.y, place, grad, add)
                  : distance_gradient<4>(face, at.x, at.y, place, grad, add);
}

// Adds one pixel of a silhouette to a face's sums.
template <class T>
LG_DEVICE void pull_back_silhouette(const Blend<T>& blend, const Face<T>& face, const WarpPixels<T>& at,
                                    const Sight<T>& sight, const BlendPixel<T>& pixel, T (&value)[face_sums<false>]) {
  const T slope = transmittance_slope(blend.falloff, sight.blend.at, sight.blend.inside, pixel.transmittance,
                                      blend.r.inverse_sigma);
  add_distance_gradient(face, at, sight.place, pixel.grad * slope, value);
}

// The same with colours. dot: see blend_gradient(); grad_bary: the gradient of the face's weights.
template <class T>
LG_DEVICE void pull_back_colors(const Blend<T>& blend, const Face<T>& face, const WarpPixels<T>& at,
                                const Sight<T>& sight, const BlendPixel<T>& pixel, T dot, const T (&grad_bary)[3],
                                T (&value)[face_sums<true>]) {
  const BlendRequest<T>& r = blend.r;
  const FaceBlendGradient<T> grad = blend_gradient(r, blend.falloff, sight.blend, pixel, dot);
  add_distance_gradient(face, at, sight.place, grad.dist, value);
  weight_gradient<true>(face, sight.place.line, sight.weights, at.px, at.py, grad_bary,
                        r.nearness.grad_z(grad.nearness), r.nearness.grad_below(grad.nearness),
                        [&](int k, T part) { value[k] += part; });
}

template <class T>
struct BackwardPass {
  Blend<T> blend;
  FaceBoxes boxes;
  BlendImages<T> images;
  BlendGradients<T> grads;
  GradientSum<T> sum;

  // The slots of sums hold positions first, then attributes.
  LG_HD int64_t first_attr_slot() const { return 4 * blend.scene.mesh.rows_in(blend.scene.image.views); }
};

// Adds the gradients of a face's attributes, summed over the warp, and computes those that reach its position through
// the colours. Called by all lanes; lanes with counts == false add nothing.
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
      const T share = grad * sight.blend.weight * pixel.inverse_total;
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
    pass.sum.add(pass.grads.attr + place, pass.first_attr_slot() + place, total);
  }
}

template <bool Colors, class T>
__global__ void __launch_bounds__(threads_per_block) backward_pixels(BackwardPass<T> pass) {
  __shared__ WarpFaces<T> shared[warps_per_block];
  __shared__ T shared_sums[warps_per_block][32][all_sums];
  WarpFaces<T>& faces = shared[threadIdx.x / warp_size];
  T(&sums)[32][all_sums] = shared_sums[threadIdx.x / warp_size];
  const Blend<T>& blend = pass.blend;
  const Scene<T>& scene = blend.scene;
  const WarpPixels<T> at(scene, blend_tile_size);
  const auto lane = static_cast<int>(lane_id());
  for (int64_t view = blockIdx.z; view < scene.image.views; view += gridDim.z) {
    const int64_t index = at.pixel(scene, view);
    BlendPixel<T> pixel = {};
    if (at.inside) pixel = read_blend_pixel(blend.r, pass.images, pass.grads, index);
    if (!warp_any(pixel.live)) continue;
    NearFaces near(pass.boxes, view, at.part, faces.waiting);
    FaceFrame frame;
    const auto make = [&](int32_t number, Face<T>& face) {
      double p[3][4];
      scene.corners(view, number, p);
      if (!make_frame(p, at.anchor_x, at.anchor_y, scene.viewport, scene.flags, frame)) return false;
      make_face(frame, scene.flags, face);
      return true;
    };
    while (const int count = near.next()) {
      uint32_t met = 0, mask = warp_ballot(set_up(scene, at, count, faces, make));
      warp_sync();
      for (; mask; mask &= mask - 1) {
        const int i = lowest_bit(mask);
        const Face<T>& face = faces.face[i].face;
        Sight<T> sight;
        const bool counts = pixel.live && see<Colors>(blend, face, at, sight);
        if (!warp_any(counts)) continue;
        met |= 1u << i;
        T value[face_sums<Colors>] = {};
        if constexpr (Colors) {
          T dot = -pixel.base, grad_bary[3] = {0, 0, 0};
          if (counts) weigh_face(blend.r, pixel.nearest, sight);
          pull_back_attributes(pass, view, faces.face[i].number, index, counts, sight, pixel, &dot, grad_bary);
          if (counts) {
            pull_back_colors(blend, face, at, sight, pixel, dot, grad_bary, value);
            if (sight.blend.nearness == pixel.nearest) pixel.grad_nearest = 0;
          }
        } else if (counts) {
          pull_back_silhouette(blend, face, at, sight, pixel, value);
        }
        const T total = warp_totals(value);
        if (lane < (Colors ? all_sums : edge_sums)) sums[i][lane] = total;
      }
      warp_sync();
      int64_t row[3];
      if (!pass.grads.pos || !(met >> lane & 1) || !scene.mesh.rows(view, faces.face[lane].number, row)) continue;
      T vertex[12];
      sums_to_vertices(frame, scene.viewport, scene.flags, sums[lane], Colors, vertex);
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

  int64_t places() const { return 4 * blend.scene.mesh.rows_in(blend.scene.image.views); }
  int64_t attr_places() const { return grads.attr ? blend.r.attr_views * blend.r.attr_vertices * blend.r.channels : 0; }

  void plan(Workspace& workspace) {
    boxes.plan(workspace);
    sums.plan(workspace);
  }
  void run(Queue& queue) {
    const Scene<T>& scene = blend.scene;
    const auto bytes = static_cast<int64_t>(sizeof(T));
    if (grads.pos) queue.fill_bytes(grads.pos, 0, places() * bytes);
    queue.fill_bytes(grads.attr, 0, attr_places() * bytes);
    const FaceBoxes found = boxes.run(queue, scene, blend.r.attr_tri, blend.r.attr_vertices);
    sums.run(queue, [&](const GradientSum<T>& sum) {
      const BackwardPass<T> pass = {blend, found, images, grads, sum};
      queue.launch(blend.r.colors() ? backward_pixels<true, T> : backward_pixels<false, T>,
                   pixel_grid(scene.image.views, scene.image.height, scene.image.width), dim3(threads_per_block), pass);
    });
    if (grads.pos) sums.finish(queue, 0, places(), grads.pos);
    sums.finish(queue, places(), attr_places(), grads.attr);
  }
};

template <class T>
GradientSums<T> gradient_sums(const lg_call& call, const Scene<T>& scene, const BlendRequest<T>& r, bool attributes) {
  const int64_t slots =
      4 * scene.mesh.rows_in(scene.image.views) + (attributes ? r.attr_views * r.attr_vertices * r.channels : 0);
  // Every warp may contribute to a vertex through every corner of every face, so there is no useful bound.
  return {call.deterministic != 0, slots, 0};
}

template <class T>
Blend<T> make_blend(const Scene<T>& scene, const BlendRequest<T>& r, int32_t falloff) {
  return {scene, r, falloff == falloff_exponential ? falloff_exponential : falloff_sigmoid, static_cast<T>(scene.blur)};
}

}  // namespace
}  // namespace lg::soft

int32_t lg_soft_blend_forward(lg_call* call, int32_t dtype, const void* pos, const int32_t* tri, const int64_t* ranges,
                              int32_t shared_positions, int64_t views, int64_t vertices, int64_t triangles,
                              int64_t height, int64_t width, double blur_radius, int32_t flags, int32_t falloff,
                              double sigma, double gamma, double eps, double min_behind, double near, double far,
                              const void* attr, const int32_t* attr_tri, int64_t attr_views, int64_t attr_vertices,
                              int64_t channels, void* transmittance, void* color, void* behind, void* nearest,
                              void* total) {
  const int32_t failure = lg::reject_views(ranges, views, triangles, height, width, lg::soft::max_resolution);
  if (failure != LG_OK) return failure;
  return lg::dispatch_scalar(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const auto scene = lg::soft::make_scene<T>(pos, tri, nullptr, shared_positions != 0, views, vertices, triangles,
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
                               int32_t shared_positions, int64_t views, int64_t vertices, int64_t triangles,
                               int64_t height, int64_t width, double blur_radius, int32_t flags, int32_t falloff,
                               double sigma, double gamma, double eps, double min_behind, double near, double far,
                               const void* attr, const int32_t* attr_tri, int64_t attr_views, int64_t attr_vertices,
                               int64_t channels, const void* transmittance, const void* color, const void* behind,
                               const void* nearest, const void* total, const void* grad_transmittance,
                               const void* grad_color, const void* grad_behind, void* grad_pos, void* grad_attr) {
  const int32_t failure = lg::reject_views(ranges, views, triangles, height, width, lg::soft::max_resolution);
  if (failure != LG_OK) return failure;
  return lg::dispatch_scalar(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const auto scene = lg::soft::make_scene<T>(pos, tri, nullptr, shared_positions != 0, views, vertices, triangles,
                                               height, width, blur_radius, flags);
    const auto request = lg::soft::make_blend_request<T>(sigma, gamma, eps, min_behind, near, far, attr, attr_tri,
                                                         attr_views, attr_vertices, channels);
    const auto grads =
        lg::soft::make_blend_gradients<T>(grad_transmittance, grad_color, grad_behind, grad_pos, grad_attr);
    return lg::run_op(
        call, lg::soft::Backward<T>{lg::soft::make_blend(scene, request, falloff),
                                    {ranges, views, triangles, height, width},
                                    lg::soft::make_blend_images<T>(transmittance, color, behind, nearest, total),
                                    grads,
                                    lg::soft::gradient_sums(*call, scene, request, grad_attr != nullptr)});
  });
}
