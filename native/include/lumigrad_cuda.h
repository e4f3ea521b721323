/* The C interface of lumigrad's CUDA library, which src/lumigrad/_cuda.py mirrors.
 *
 * Functions and arguments are those of lumigrad.h, with `call` in the place of `threads`. All buffers lie on the
 * current device, save for `ranges`, `channel_list`, `sizes`, `settings` and the arrays of pointers, which are read on
 * the host before the function returns. A function puts kernels on the stream and returns: it allocates nothing, waits for
 * nothing and reads nothing back, so that calls can be captured into CUDA graphs.
 *
 * Hence no error can tell of an index out of range. What such an index belongs to is left out instead: a triangle
 * of `tri` with a wrong vertex is not drawn, a pixel of `frag_tri` with a wrong triangle is background.
 */
#ifndef LUMIGRAD_CUDA_H
#define LUMIGRAD_CUDA_H

#include "lumigrad.h"

/* workspace_bytes has been set to what the call needs; nothing else was done. */
enum { LG_NEEDS_WORKSPACE = 4 };

typedef struct {
  void* stream;            /* a cudaStream_t of the current device */
  void* workspace;         /* aligned to 256 bytes; null: none */
  int64_t workspace_bytes; /* its size */
  int32_t deterministic;   /* not 0: gradients are the same bit for bit in every run */
} lg_cuda_call;

LG_API int32_t lg_cuda_abi_version(void);
/* In words, for the calling thread, what the last function that failed has to say. */
LG_API const char* lg_cuda_last_error(void);
/* The CUDA version that the library was built with, as 1000 major + 10 minor; 0 for an emulation. */
LG_API int32_t lg_cuda_toolkit(void);
/* Whether the driver and the current device can run the kernels of this library; LG_INTERNAL where they cannot. */
LG_API int32_t lg_cuda_check(void);

LG_API int32_t lg_cuda_rasterize_forward(
    lg_cuda_call* call, int32_t dtype, const void* pos, const int32_t* tri, const int64_t* ranges,
    int64_t views, int64_t vertices, int64_t triangles, int64_t height, int64_t width, int32_t subpixel_bits,
    const int32_t* after_tri, const float* after_zbuffer, int32_t drop_coincident,
    int32_t* out_tri, void* out_bary, void* out_depth, void* out_bary_d, float* out_zbuffer);

LG_API int32_t lg_cuda_rasterize_backward(
    lg_cuda_call* call, int32_t dtype, const void* pos, const int32_t* tri, int32_t shared_positions,
    int64_t views, int64_t vertices, int64_t triangles, int64_t height, int64_t width, int32_t straight_through,
    const int32_t* frag_tri, const void* grad_bary, const void* grad_depth, const void* grad_bary_d,
    void* grad_pos);

LG_API int32_t lg_cuda_interpolate_forward(
    lg_cuda_call* call, int32_t dtype, const void* attr, const int32_t* tri, const int32_t* frag_tri,
    const void* bary, const void* bary_d, const int32_t* channel_list,
    int64_t attr_views, int64_t views, int64_t vertices, int64_t channels, int64_t triangles,
    int64_t pixels_per_view, int64_t listed, void* out, void* out_d);

LG_API int32_t lg_cuda_interpolate_backward(
    lg_cuda_call* call, int32_t dtype, const void* attr, const int32_t* tri, const int32_t* frag_tri,
    const void* bary, const void* bary_d, const int32_t* channel_list,
    int64_t attr_views, int64_t views, int64_t vertices, int64_t channels, int64_t triangles,
    int64_t height, int64_t width, int64_t listed, const void* grad_out, const void* grad_out_d,
    void* grad_attr, void* grad_bary, void* grad_bary_d);

LG_API int32_t lg_cuda_edge_topology(lg_cuda_call* call, const int32_t* tri, const int32_t* weld, int64_t vertices,
                                     int64_t triangles, int32_t* topology);

LG_API int32_t lg_cuda_antialias_forward(
    lg_cuda_call* call, int32_t dtype, const void* color, const int32_t* frag_tri, const void* depth,
    const void* pos, const int32_t* tri, const int32_t* topology, int32_t shared_positions,
    int64_t views, int64_t vertices, int64_t triangles, int64_t height, int64_t width, int64_t channels,
    int32_t unbounded, int64_t note_bytes, void* out, uint8_t* out_notes);

LG_API int32_t lg_cuda_antialias_backward(
    lg_cuda_call* call, int32_t dtype, const void* color, const int32_t* frag_tri, const void* depth,
    const void* pos, const int32_t* tri, const int32_t* topology, const uint8_t* notes,
    int32_t shared_positions,
    int64_t views, int64_t vertices, int64_t triangles, int64_t height, int64_t width, int64_t channels,
    int32_t unbounded, int64_t note_bytes, const void* grad_out, void* grad_color, void* grad_pos);

LG_API int32_t lg_cuda_soft_rasterize_forward(
    lg_cuda_call* call, int32_t dtype, const void* pos, const int32_t* tri, const int64_t* ranges,
    int64_t views, int64_t vertices, int64_t triangles, int64_t height, int64_t width, int64_t faces_per_pixel,
    double blur_radius, int32_t flags, int32_t* out_tri, void* out_z, void* out_dist, void* out_bary);

LG_API int32_t lg_cuda_soft_rasterize_backward(
    lg_cuda_call* call, int32_t dtype, const void* pos, const int32_t* tri, int32_t shared_positions,
    int64_t views, int64_t vertices, int64_t triangles, int64_t height, int64_t width, int64_t faces_per_pixel,
    int32_t flags, const int32_t* frag_tri, const void* grad_z, const void* grad_dist, const void* grad_bary,
    void* grad_pos);

LG_API int32_t lg_cuda_soft_blend_forward(
    lg_cuda_call* call, int32_t dtype, const void* pos, const int32_t* tri, const int64_t* ranges,
    int64_t views, int64_t vertices, int64_t triangles, int64_t height, int64_t width,
    double blur_radius, int32_t flags, int32_t falloff,
    double sigma, double gamma, double eps, double least, double near, double far,
    const void* attr, const int32_t* attr_tri, int64_t attr_views, int64_t attr_vertices, int64_t channels,
    void* out_transmittance, void* out_color, void* out_behind, void* out_nearest, void* out_total);

LG_API int32_t lg_cuda_soft_blend_backward(
    lg_cuda_call* call, int32_t dtype, const void* pos, const int32_t* tri, const int64_t* ranges,
    int64_t views, int64_t vertices, int64_t triangles, int64_t height, int64_t width,
    double blur_radius, int32_t flags, int32_t falloff,
    double sigma, double gamma, double eps, double least, double near, double far,
    const void* attr, const int32_t* attr_tri, int64_t attr_views, int64_t attr_vertices, int64_t channels,
    const void* transmittance, const void* color, const void* behind, const void* nearest, const void* total,
    const void* grad_transmittance, const void* grad_color, const void* grad_behind,
    void* grad_pos, void* grad_attr);

LG_API int32_t lg_cuda_edge_gradient(
    lg_cuda_call* call, int32_t dtype, const void* color, const int32_t* frag_tri, const void* bary,
    const void* pos, const int32_t* tri, int32_t shared_positions,
    int64_t views, int64_t vertices, int64_t triangles, int64_t height, int64_t width, int64_t channels,
    const void* grad_out, void* grad_pos);

LG_API int32_t lg_cuda_nmr_gradient(
    lg_cuda_call* call, int32_t dtype, const void* color, const int32_t* frag_tri,
    const void* pos, const int32_t* tri, int32_t shared_positions,
    int64_t views, int64_t vertices, int64_t triangles, int64_t height, int64_t width, int64_t channels,
    int64_t reach, double eps, const void* grad_out, void* grad_pos);

LG_API int32_t lg_cuda_texture_forward(
    lg_cuda_call* call, int32_t dtype, const void* const* levels, int32_t level_count,
    int64_t texture_views, int64_t height, int64_t width, int64_t channels,
    const void* coord, const void* coord_d, const void* bias, int64_t views, int64_t rows, int64_t columns,
    int32_t filter, int32_t wrap, int32_t anisotropy, void* out);

LG_API int32_t lg_cuda_texture_backward(
    lg_cuda_call* call, int32_t dtype, const void* const* levels, int32_t level_count,
    int64_t texture_views, int64_t height, int64_t width, int64_t channels,
    const void* coord, const void* coord_d, const void* bias, int64_t views, int64_t rows, int64_t columns,
    int32_t filter, int32_t wrap, int32_t anisotropy, const void* grad_out,
    void* const* grad_levels, void* grad_coord, void* grad_coord_d, void* grad_bias);

LG_API int32_t lg_cuda_build_mips(
    lg_cuda_call* call, int32_t dtype, void* const* levels, int32_t level_count, int64_t images,
    int64_t height, int64_t width, int64_t channels);

LG_API int32_t lg_cuda_fold_mips(
    lg_cuda_call* call, int32_t dtype, void* const* levels, int32_t level_count, int64_t images,
    int64_t height, int64_t width, int64_t channels, int32_t add_to_base);

LG_API int32_t lg_cuda_splat_forward(
    lg_cuda_call* call, int32_t dtype, int32_t footprint, int32_t blend, const int64_t* sizes, const double* settings,
    const void* const* inputs, int64_t contributors, void* image, void* alpha, void* depth, int32_t* median,
    int32_t* ids, void* weights, void* state, int32_t* last);

LG_API int32_t lg_cuda_splat_backward(
    lg_cuda_call* call, int32_t dtype, int32_t footprint, int32_t blend, const int64_t* sizes, const double* settings,
    const void* const* inputs, const void* const* images, const int32_t* last, const void* const* grad_images,
    void* const* grads);

LG_API int32_t lg_cuda_project_gaussians_forward(
    lg_cuda_call* call, int32_t dtype, const void* const* inputs, const double* settings, int64_t views, int64_t count,
    void* xy, void* conic, void* depth, void* compensation);

LG_API int32_t lg_cuda_project_gaussians_backward(
    lg_cuda_call* call, int32_t dtype, const void* const* inputs, const double* settings, int64_t views, int64_t count,
    const void* const* grad_outputs, void* const* grads);

LG_API int32_t lg_cuda_project_surfels_forward(
    lg_cuda_call* call, int32_t dtype, const void* const* inputs, const double* settings, int64_t views, int64_t count,
    void* const* outputs);

LG_API int32_t lg_cuda_project_surfels_backward(
    lg_cuda_call* call, int32_t dtype, const void* const* inputs, const double* settings, int64_t views, int64_t count,
    const void* const* grad_outputs, void* const* grads);

LG_API int32_t lg_cuda_splat_visibility(
    lg_cuda_call* call, int32_t dtype, int64_t views, int64_t count, int64_t height, int64_t width, const void* xy,
    const void* radius, const void* grad_alpha, void* grad_xy);

#endif
