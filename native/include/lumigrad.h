/* The C interface of lumigrad's compiled libraries, and the only place that says what their functions take: the Python
 * side reads the prototypes from this file (src/lumigrad/_engine/abi.py), and finds arguments by the parameters' names
 * (src/lumigrad/_engine/declare.py). A pointer to const is read, any other is written to.
 *
 * Two kinds of libraries implement it: one for the CPU for each instruction set, and one for CUDA. Both export every
 * function marked LG_API; those marked LG_API_CPU exist in the CPU libraries alone.
 *
 * Every function that returns a status returns LG_OK or an error code; lg_last_error() then describes the error in words
 * for the calling thread. Buffers are contiguous and row-major. A null pointer stands for an absent optional input or an
 * output that is not wanted. `dtype` is the type of a call's floating-point buffers.
 *
 * CUDA: buffers lie on the current device, except `ranges`, `level_starts`, `channel_list`, structures and arrays of
 * pointers, which are read on the host before the function returns. A function enqueues kernels on the stream and returns. It does
 * not allocate, synchronise or read back, so calls can be captured into CUDA graphs. For the same reason an index out of
 * range cannot be reported: a triangle with a wrong vertex is not drawn, and a pixel with a wrong triangle is background.
 */
#ifndef LUMIGRAD_H
#define LUMIGRAD_H

#include <stdint.h>

#if defined(_WIN32)
#define LG_API_EXPORT __declspec(dllexport)
#else
#define LG_API_EXPORT __attribute__((visibility("default")))
#endif
#ifdef __cplusplus
#define LG_API extern "C" LG_API_EXPORT
#else
#define LG_API LG_API_EXPORT
#endif
#define LG_API_CPU LG_API

/* Changes with every change of this file's meaning; lg_abi_version() is that of the file a library was compiled with. */
#define LG_ABI_VERSION 9

enum { LG_OK = 0, LG_INVALID = 1, LG_OUT_OF_MEMORY = 2, LG_INTERNAL = 3, LG_NEEDS_WORKSPACE = 4 };
enum { LG_FLOAT32 = 0, LG_FLOAT64 = 1 };

/* How a call runs. Results do not depend on `threads`. A CUDA function that needs a larger workspace sets
 * workspace_bytes, returns LG_NEEDS_WORKSPACE and does nothing else. */
typedef struct {
  int32_t threads;         /* CPU: the number of threads to use */
  int32_t deterministic;   /* CUDA: not 0: gradients are the same bit for bit in every run */
  void* stream;            /* CUDA: a cudaStream_t of the current device */
  void* workspace;         /* CUDA: device memory aligned to 256 bytes, or null */
  int64_t workspace_bytes; /* CUDA: its size */
} lg_call;

/* ---- The library itself ------------------------------------------------------------------------- */

LG_API int32_t lg_abi_version(void);
/* The last error of the calling thread, in words. */
LG_API const char* lg_last_error(void);
/* What the library was compiled for: an instruction set, "cuda" or "emulated". */
LG_API const char* lg_isa(void);
/* The CUDA version that the library was built with, as 1000 major + 10 minor; 0 without CUDA. */
LG_API int32_t lg_toolkit(void);
/* Whether this machine, and with CUDA the current device, can run the kernels; LG_INTERNAL where it cannot. */
LG_API int32_t lg_check(void);
/* The best instruction set that this processor can run. */
LG_API_CPU const char* lg_best_isa(void);

/* ---- Threads -------------------------------------------------------------------------------------- */

/* Run parallel work on the threads of GNU's OpenMP runtime, given its GOMP_parallel; null: on our own. */
LG_API_CPU void lg_use_team(void* team_function);

/* Have that runtime's idle threads sleep at once, in place of spinning, while other processes compete for the cores.
   processors: how many that runtime sees; 0: leave it alone. */
LG_API_CPU void lg_adapt_waiting(int32_t processors);

/* Whether they sleep at once now. */
LG_API_CPU int32_t lg_is_contended(void);

/* ---- Memory for outputs -------------------------------------------------------------------------- */

/* A DLManagedTensor (DLPack 0.x) of uninitialised recycled memory; its deleter gives the memory back.
 * dtype_code and dtype_bits are DLPack's. Returns null when memory is short. */
LG_API_CPU void* lg_tensor_new(int32_t dtype_code, int32_t dtype_bits, int32_t ndim, const int64_t* shape);
/* Bytes handed out now, bytes kept for reuse now, and the most ever handed out at once since the reset. */
LG_API_CPU void lg_memory_stats(int64_t* in_use, int64_t* cached, int64_t* peak);
LG_API_CPU void lg_memory_reset_peak(void);
LG_API_CPU void lg_memory_set_limit(int64_t cached_bytes);
LG_API_CPU void lg_memory_empty_cache(void);

/* ---- Ops --------------------------------------------------------------------------------------------
 * lg_<op>_forward computes an op's outputs; lg_<op>_backward takes its inputs, those outputs that it needs and the
 * gradients of others, grad_<output>, and computes those of inputs, grad_<input>, each of the input's shape. A gradient
 * that is given may be null, for zero; so may those to be computed, all but one, that are not wanted.
 */

/* ---- Rasterization (native/surface) ---------------------------------------------------------------
 * pos   [views, vertices, 4], or [vertices, 4] shared by all views when `ranges` is given
 * tri   int32 [triangles, 3]
 * ranges int64 [views, 2] = (first, count) into tri, or null: every view draws all triangles
 * Outputs [views, height, width, ...]: frag_tri, bary (2), depth, bary_d (2x2), and zbuffer: the depth that decided
 * visibility. after_tri/after_zbuffer: the previous layer of depth peeling; drop_coincident: a layer must be strictly
 * deeper than the previous one.
 * rast (4): u, v, depth and frag_tri + 1 as nvdiffrast packs them, zeros where nothing is seen; float32 numbers of
 * triangles above 2^24 are written as the number with the bits 0x4a800000 + frag_tri + 1. It takes the place of bary and
 * depth here, and that of all three images in the ops below. Only u and v of it have gradients: of a given grad_rast
 * the other two values do not count, and of a computed one they are zero.
 */
LG_API int32_t lg_rasterize_forward(
    lg_call* call, int32_t dtype, const void* pos, const int32_t* tri, const int64_t* ranges,
    int64_t views, int64_t vertices, int64_t triangles, int64_t height, int64_t width, int32_t subpixel_bits,
    const int32_t* after_tri, const float* after_zbuffer, int32_t drop_coincident,
    int32_t* frag_tri, void* bary, void* depth, void* bary_d, float* zbuffer, void* rast);

LG_API int32_t lg_rasterize_backward(
    lg_call* call, int32_t dtype, const void* pos, const int32_t* tri, int32_t shared_positions,
    int64_t views, int64_t vertices, int64_t triangles, int64_t height, int64_t width, int32_t straight_through,
    const int32_t* frag_tri, const void* grad_bary, const void* grad_depth, const void* grad_bary_d,
    const void* grad_rast, void* grad_pos);

/* The same with attributes of the vertices, interpolated in the same pass, and their gradients in the same pass back.
 * attr [attr_views, vertices, channels], attr_views 1 or views, channels 1 to 4; attributes [.., channels]
 */
LG_API int32_t lg_rasterize_attributes_forward(
    lg_call* call, int32_t dtype, const void* pos, const int32_t* tri, const int64_t* ranges, const void* attr,
    int64_t attr_views, int64_t channels, int64_t views, int64_t vertices, int64_t triangles,
    int64_t height, int64_t width, int32_t subpixel_bits,
    int32_t* frag_tri, void* bary, void* depth, void* bary_d, void* attributes);

LG_API int32_t lg_rasterize_attributes_backward(
    lg_call* call, int32_t dtype, const void* pos, const int32_t* tri, const void* attr, int32_t shared_positions,
    int64_t attr_views, int64_t channels, int64_t views, int64_t vertices, int64_t triangles,
    int64_t height, int64_t width, const int32_t* frag_tri, const void* grad_bary, const void* grad_depth,
    const void* grad_bary_d, const void* grad_attributes, void* grad_pos, void* grad_attr);

/* ---- Soft rasterization (native/soft) ---------------------------------------------------------------
 * The faces_per_pixel nearest faces that cover a pixel centre or come closer to it than blur_radius, a squared
 * distance in units of half the shorter side. flags: 1 perspective-correct weights, 2 weights clipped to be
 * non-negative, 4 back faces left out. Outputs [views, height, width, faces_per_pixel, ...]: frag_tri (-1: no more),
 * z, dist, bary (3). Other arguments as for lg_rasterize_*.
 */
LG_API int32_t lg_soft_rasterize_forward(
    lg_call* call, int32_t dtype, const void* pos, const int32_t* tri, const int64_t* ranges,
    int64_t views, int64_t vertices, int64_t triangles, int64_t height, int64_t width, int64_t faces_per_pixel,
    double blur_radius, int32_t flags, int32_t* frag_tri, void* z, void* dist, void* bary);

LG_API int32_t lg_soft_rasterize_backward(
    lg_call* call, int32_t dtype, const void* pos, const int32_t* tri, int32_t shared_positions,
    int64_t views, int64_t vertices, int64_t triangles, int64_t height, int64_t width, int64_t faces_per_pixel,
    int32_t flags, const int32_t* frag_tri, const void* grad_z, const void* grad_dist, const void* grad_bary,
    void* grad_pos);

/* Soft images of all faces in reach, without fragments. falloff: 0 sigmoid, 1 exponential; near >= far: nearness
 * by depth instead of w. eps, min_behind: the background's nearness, and the least that it weighs. attr [attr_views,
 * attr_vertices, channels] with attr_tri int32 [triangles, 3], or null: the silhouette alone. Outputs [views, height,
 * width, ...]: transmittance, and with attr color (channels) of the faces alone, behind, the background's share, and
 * nearest and total for the backward pass. */
LG_API int32_t lg_soft_blend_forward(
    lg_call* call, int32_t dtype, const void* pos, const int32_t* tri, const int64_t* ranges,
    int32_t shared_positions, int64_t views, int64_t vertices, int64_t triangles, int64_t height, int64_t width,
    double blur_radius, int32_t flags, int32_t falloff,
    double sigma, double gamma, double eps, double min_behind, double near, double far,
    const void* attr, const int32_t* attr_tri, int64_t attr_views, int64_t attr_vertices, int64_t channels,
    void* transmittance, void* color, void* behind, void* nearest, void* total);

LG_API int32_t lg_soft_blend_backward(
    lg_call* call, int32_t dtype, const void* pos, const int32_t* tri, const int64_t* ranges,
    int32_t shared_positions, int64_t views, int64_t vertices, int64_t triangles, int64_t height, int64_t width,
    double blur_radius, int32_t flags, int32_t falloff,
    double sigma, double gamma, double eps, double min_behind, double near, double far,
    const void* attr, const int32_t* attr_tri, int64_t attr_views, int64_t attr_vertices, int64_t channels,
    const void* transmittance, const void* color, const void* behind, const void* nearest, const void* total,
    const void* grad_transmittance, const void* grad_color, const void* grad_behind,
    void* grad_pos, void* grad_attr);

/* ---- Interpolation (native/surface) -----------------------------------------------------------------
 * attr [attr_views, vertices, channels], attr_views 1 or views; tri int32 [triangles, 3]
 * frag_tri [views, height, width] and bary [.., 2], or rast [.., 4] in their place; bary_d [.., 2, 2] or null
 * channel_list int32 [listed]: the channels whose derivatives are wanted; out_d [.., listed, 2]
 */
LG_API int32_t lg_interpolate_forward(
    lg_call* call, int32_t dtype, const void* attr, const int32_t* tri, const int32_t* frag_tri,
    const void* bary, const void* bary_d, const void* rast, const int32_t* channel_list,
    int64_t attr_views, int64_t views, int64_t vertices, int64_t channels, int64_t triangles,
    int64_t height, int64_t width, int64_t listed, void* out, void* out_d);

LG_API int32_t lg_interpolate_backward(
    lg_call* call, int32_t dtype, const void* attr, const int32_t* tri, const int32_t* frag_tri,
    const void* bary, const void* bary_d, const void* rast, const int32_t* channel_list,
    int64_t attr_views, int64_t views, int64_t vertices, int64_t channels, int64_t triangles,
    int64_t height, int64_t width, int64_t listed, const void* grad_out, const void* grad_out_d,
    void* grad_attr, void* grad_bary, void* grad_bary_d, void* grad_rast);

/* ---- Antialiasing (native/surface) ------------------------------------------------------------------
 * topology int32 [triangles, 3]: the cyclic half-edge links made by lg_edge_topology.
 * color [views, height, width, channels]; frag_tri and depth, or rast, as made by rasterization.
 * notes [note_bytes]: what the forward pass leaves for the backward pass. First [views, or 1 when positions are shared,
 * triangles] flags about each triangle's silhouette edges; then, from the next multiple of 8 bytes on, the pairs of pixels
 * with a crossing, if there is room for them: else the backward pass searches once more. CUDA knows only the flags.
 */

/* weld int32 [vertices]: a number for each vertex, the same for those that count as one; or null. */
LG_API int32_t lg_edge_topology(
    lg_call* call, const int32_t* tri, const int32_t* weld, int64_t vertices, int64_t triangles, int32_t* topology);

LG_API int32_t lg_antialias_forward(
    lg_call* call, int32_t dtype, const void* color, const int32_t* frag_tri, const void* depth,
    const void* rast, const void* pos, const int32_t* tri, const int32_t* topology, int32_t shared_positions,
    int64_t views, int64_t vertices, int64_t triangles, int64_t height, int64_t width, int64_t channels,
    int32_t own_edges, int64_t note_bytes, void* out, uint8_t* notes);

LG_API int32_t lg_antialias_backward(
    lg_call* call, int32_t dtype, const void* color, const int32_t* frag_tri, const void* depth,
    const void* rast, const void* pos, const int32_t* tri, const int32_t* topology, const uint8_t* notes,
    int32_t shared_positions,
    int64_t views, int64_t vertices, int64_t triangles, int64_t height, int64_t width, int64_t channels,
    int32_t own_edges, int64_t note_bytes, const void* grad_out, void* grad_color, void* grad_pos);

/* ---- Outlines (native/surface) ----------------------------------------------------------------------
 * The visible outlines of every view, in pieces within pixels; topology and ranges as above; every_edge: all edges, not
 * only silhouettes. count [views]: how many pieces there are; those beyond `capacity` are left out, unused rows hold pixel
 * -1. Those of one pixel follow one another. Outputs [views, ...]: pixel (capacity), in the view, row by row; line
 * (capacity, 2): (half-edge, -1), (triangle, triangle) for an intersection, (triangle, -2 or -3) for the near or far plane,
 * (-1, -1) for the correction of a centre; length (capacity). sides, place (4, capacity): triangles to look up colours
 * of, and where, from the pixel's centre: on the plus and on the minus side of the piece, and for the surfaces that these
 * two sides stand for, -1 for none; weight (2, capacity): the parts of the pixel that such a surface covers; source (4,
 * capacity), or null: pixels whose colours stand for those of sides.
 */
LG_API int32_t lg_outlines(
    lg_call* call, int32_t dtype, const void* pos, const int32_t* tri, const int64_t* ranges, const int32_t* topology,
    const int32_t* frag_tri, int32_t shared_positions,
    int64_t views, int64_t vertices, int64_t triangles, int64_t height, int64_t width, int32_t every_edge,
    int64_t capacity, int64_t* count, int32_t* pixel, int32_t* sides, int32_t* line, int32_t* source,
    void* place, void* weight, void* length);

/* Fragments at given places: frag_tri [views, rows, samples], place [views, rows, samples, 2] and pixel [views, samples] as
 * above, of images of height x width. Outputs [views, rows, samples, ...] as lg_rasterize_forward's. */
LG_API int32_t lg_outline_fragments_forward(
    lg_call* call, int32_t dtype, const void* pos, const int32_t* tri, const int32_t* frag_tri, const int32_t* pixel,
    const void* place, int32_t shared_positions, int64_t views, int64_t vertices, int64_t triangles,
    int64_t rows, int64_t samples, int64_t height, int64_t width, void* bary, void* depth, void* bary_d);

LG_API int32_t lg_outline_fragments_backward(
    lg_call* call, int32_t dtype, const void* pos, const int32_t* tri, const int32_t* frag_tri, const int32_t* pixel,
    const void* place, int32_t shared_positions, int64_t views, int64_t vertices, int64_t triangles,
    int64_t rows, int64_t samples, int64_t height, int64_t width,
    const void* grad_bary, const void* grad_depth, const void* grad_bary_d, void* grad_pos);

/* color [views, height, width, channels] and, at the pixels of pieces, weight * (side_color - color) for the last two rows of
 * side_color [views, 4, samples, channels]; the gradient to pos is that of the jumps between the sides, times the areas that pieces sweep. */
LG_API int32_t lg_blend_outlines_forward(
    lg_call* call, int32_t dtype, const void* color, const void* side_color, const int32_t* pixel,
    const void* weight, int64_t views, int64_t height, int64_t width, int64_t channels, int64_t samples, void* out);

LG_API int32_t lg_blend_outlines_backward(
    lg_call* call, int32_t dtype, const void* side_color, const void* pos, const int32_t* pixel, const int32_t* line,
    const void* place, const void* weight, const void* length, const int32_t* tri, int32_t shared_positions,
    int64_t views, int64_t vertices, int64_t triangles, int64_t height, int64_t width, int64_t channels,
    int64_t samples, const void* grad_out, void* grad_color, void* grad_side_color, void* grad_pos);

/* ---- Gradient methods (native/surface) ----------------------------------------------------------------
 * The position gradient that two methods give an image they leave as it is. color, grad_out [views, height,
 * width, channels]; bary as made by rasterization; reach: pixels, 0 for any number; eps: NDC.
 */
LG_API int32_t lg_edge_gradient_backward(
    lg_call* call, int32_t dtype, const void* color, const int32_t* frag_tri, const void* bary,
    const void* pos, const int32_t* tri, int32_t shared_positions,
    int64_t views, int64_t vertices, int64_t triangles, int64_t height, int64_t width, int64_t channels,
    const void* grad_out, void* grad_pos);

LG_API int32_t lg_nmr_gradient_backward(
    lg_call* call, int32_t dtype, const void* color, const int32_t* frag_tri,
    const void* pos, const int32_t* tri, int32_t shared_positions,
    int64_t views, int64_t vertices, int64_t triangles, int64_t height, int64_t width, int64_t channels,
    int64_t reach, double eps, const void* grad_out, void* grad_pos);

/* ---- Textures (native/texture) ----------------------------------------------------------------------
 * tex [texture_views, height, width, channels], texture_views 1 or views; a cube's (wrap 4) [texture_views, 6, size,
 * size, channels], height = width = size. Levels below it have half of the previous one's sides, rounded down, but at
 * least 1. They are given, mips[mip_count], or the forward pass makes `built` of them: one after another in pyramid.
 * coord [views, rows, columns, 2], coord_d [.., 2, 2]; for a cube [.., 3] and [.., 3, 2]; bias [..]
 * filter: 0 nearest, 1 linear, 2 linear-mipmap-nearest, 3 linear-mipmap-linear
 * wrap: 0 repeat, 1 clamp, 2 mirror, 3 zero, 4 cube
 * At most 2^31 - 1 texels in a level of one view.
 */
LG_API int32_t lg_texture_forward(
    lg_call* call, int32_t dtype, const void* tex, const void* const* mips, int64_t mip_count, int64_t built,
    int64_t texture_views, int64_t height, int64_t width, int64_t channels,
    const void* coord, const void* coord_d, const void* bias, int64_t views, int64_t rows, int64_t columns,
    int32_t filter, int32_t wrap, int32_t anisotropy, void* out, void* pyramid);

/* grad_mips: null, or pointers of which any may be null. */
LG_API int32_t lg_texture_backward(
    lg_call* call, int32_t dtype, const void* tex, const void* const* mips, int64_t mip_count, int64_t built,
    int64_t texture_views, int64_t height, int64_t width, int64_t channels,
    const void* coord, const void* coord_d, const void* bias, int64_t views, int64_t rows, int64_t columns,
    int32_t filter, int32_t wrap, int32_t anisotropy, const void* pyramid, const void* grad_out,
    void* grad_tex, void* grad_coord, void* grad_coord_d, void* grad_bias, void* const* grad_mips);

/* tex [images, height, width, channels]; mips: levels 1 to `levels`, one after another. */
LG_API int32_t lg_build_mips_forward(
    lg_call* call, int32_t dtype, const void* tex, int64_t levels, int64_t images,
    int64_t height, int64_t width, int64_t channels, void* mips);

LG_API int32_t lg_build_mips_backward(
    lg_call* call, int32_t dtype, int64_t levels, int64_t images,
    int64_t height, int64_t width, int64_t channels, const void* grad_mips, void* grad_tex);

/* ---- Splats (native/splat) ---------------------------------------------------------------------------
 * footprint: 0 Gaussian conic, 1 disc, 2 square, all in pixels; 3 sphere in perspective, 4 orthographic sphere;
 *   5 surfel (native/splat/surfel.h; blend 0 only): its images have two more channels, the distortion of depth (of z
 *   with min_depth = 0, else of z's place between min_depth and max_depth in NDC) and the depth at the median
 * blend: 0 alpha, 1 softmax over depth (spheres only), 2 normalised, 3 nearest
 * merge: for blend 2 how far behind the nearest contributor of a pixel others may be, 0 for any distance
 * max_contributors: how many a pixel takes, 0 for any number
 */
typedef struct {
  int32_t footprint, blend;
  int64_t views, primitives, channels, height, width;
  /* of each primitive, for each of the views or, where *_views is 1, for all of them */
  const void* positions; /* [.., position_components], 2 in pixels or 3 in the world */
  const void* shapes;    /* [.., shape_components] */
  const void* depths;    /* [..], null for spheres */
  const void* opacities; /* [..] */
  const void* features;  /* [.., channels] */
  int64_t position_views, shape_views, depth_views, opacity_views, feature_views;
  int64_t position_components, shape_components;
  const void* background; /* [background_views, channels] */
  int64_t background_views;
  /* of spheres, else null */
  const void* matrix;     /* world to camera [views, 4, 4] */
  const void* intrinsics; /* [views, 4] = fx, fy, cx, cy */
  const void* gamma;      /* [1] */
  double max_alpha, min_alpha, stop, min_depth, max_depth, merge;
  int64_t max_contributors;
} lg_splat_scene;

/* Outputs [views, height, width, ..]: image, alpha, and where not null depth, median, ids and weights of the first
 * `contributors`; state [.., 2] and last are for the backward pass. */
LG_API int32_t lg_splat_forward(
    lg_call* call, int32_t dtype, const lg_splat_scene* scene, int64_t contributors, void* image, void* alpha,
    void* depth, int32_t* median, int32_t* ids, void* weights, void* state, int32_t* last);

LG_API int32_t lg_splat_backward(
    lg_call* call, int32_t dtype, const lg_splat_scene* scene, const void* image, const void* alpha, const void* depth,
    const void* state, const int32_t* last, const void* grad_image, const void* grad_alpha, const void* grad_depth,
    void* grad_positions, void* grad_shapes, void* grad_depths, void* grad_opacities, void* grad_features,
    void* grad_background, void* grad_matrix, void* grad_intrinsics, void* grad_gamma);

/* means [count, 3], quats [count, 4] (w, x, y, z), scales [count, 3], matrix [views, 4, 4], intrinsics [views, 4].
 * Outputs [views, count, ..]: xy (2), conics (3), depths, compensations. */
LG_API int32_t lg_project_gaussians_forward(
    lg_call* call, int32_t dtype, const void* means, const void* quats, const void* scales, const void* matrix,
    const void* intrinsics, int64_t views, int64_t count, int64_t height, int64_t width, double blur, double near,
    double far, int32_t orthographic, void* xy, void* conics, void* depths, void* compensations);

LG_API int32_t lg_project_gaussians_backward(
    lg_call* call, int32_t dtype, const void* means, const void* quats, const void* scales, const void* matrix,
    const void* intrinsics, int64_t views, int64_t count, int64_t height, int64_t width, double blur, double near,
    double far, int32_t orthographic, const void* grad_xy, const void* grad_conics, const void* grad_depths,
    const void* grad_compensations, void* grad_means, void* grad_quats, void* grad_scales, void* grad_matrix,
    void* grad_intrinsics);

/* As for Gaussians, with scales [count, 2]. Outputs [views, count, ..]: xy (2), shapes (8), depths, and normals (3), in
 * the world, turned to the camera. */
LG_API int32_t lg_project_surfels_forward(
    lg_call* call, int32_t dtype, const void* means, const void* quats, const void* scales, const void* matrix,
    const void* intrinsics, int64_t views, int64_t count, double near, double far, int32_t orthographic,
    void* xy, void* shapes, void* depths, void* normals);

LG_API int32_t lg_project_surfels_backward(
    lg_call* call, int32_t dtype, const void* means, const void* quats, const void* scales, const void* matrix,
    const void* intrinsics, int64_t views, int64_t count, double near, double far, int32_t orthographic,
    const void* grad_xy, const void* grad_shapes, const void* grad_depths, const void* grad_normals,
    void* grad_means, void* grad_quats, void* grad_scales, void* grad_matrix, void* grad_intrinsics);

/* For splats whose alpha is a step: the gradient of their centres xy [views, count, 2] as if each pixel's alpha grew
 * with 1 / d of those within radii [views, count]. grad_out, of alpha [views, height, width]; all in pixels. */
LG_API int32_t lg_splat_visibility_backward(
    lg_call* call, int32_t dtype, int64_t views, int64_t count, int64_t height, int64_t width, const void* xy,
    const void* radii, const void* grad_out, void* grad_xy);

/* ---- Fields (native/field) ---------------------------------------------------------------------------
 * Emission and absorption along rays. grid [slices, rows, columns, channels], density first, of the box [2, 3]: two
 * corners, x y z. origins, directions [rays, 3]; limits [rays, 2]: where rays begin and end, in units of the direction,
 * as is step; step 0: a segment per cell. activation of the density: 0 none, 1 relu, 2 softplus, 3 exp.
 * occupancy: null, or bits of [occupied_slices, occupied_rows, occupied_columns] cells of the box in words of 4^3
 * (native/field/occupancy.h). Outputs [rays, ..]: features (channels - 1), alpha, depth, median.
 */
LG_API int32_t lg_march_forward(
    lg_call* call, int32_t dtype, const void* grid, const void* origins, const void* directions, const void* box,
    const void* limits, const int64_t* occupancy, int64_t rays, int64_t slices, int64_t rows, int64_t columns,
    int64_t channels, int64_t occupied_slices, int64_t occupied_rows, int64_t occupied_columns, double step,
    int32_t activation, double min_transmittance, void* features, void* alpha, void* depth, void* median);

LG_API int32_t lg_march_backward(
    lg_call* call, int32_t dtype, const void* grid, const void* origins, const void* directions, const void* box,
    const void* limits, const int64_t* occupancy, int64_t rays, int64_t slices, int64_t rows, int64_t columns,
    int64_t channels, int64_t occupied_slices, int64_t occupied_rows, int64_t occupied_columns, double step,
    int32_t activation, double min_transmittance, const void* grad_features, const void* grad_alpha,
    const void* grad_depth, void* grad_grid, void* grad_origins, void* grad_directions, void* grad_box,
    void* grad_limits);

/* Samples of rays, one ray's behind another's: ray r has those from offsets[r], int64 [rays + 1], to offsets[r + 1].
 * density [samples], an extinction per length or, where `opacity` is not 0, the sample's alpha; features [samples,
 * channels]; t_start, t_end [samples] in units of the direction, whose length is norms [rays]. Outputs: features_out
 * [rays, channels], alpha [rays], depth [rays], weights [samples]. */
LG_API int32_t lg_composite_forward(
    lg_call* call, int32_t dtype, const void* density, const void* features, const void* t_start, const void* t_end,
    const void* norms, const int64_t* offsets, int64_t rays, int64_t samples, int64_t channels, int32_t opacity,
    void* features_out, void* alpha, void* depth, void* weights);

LG_API int32_t lg_composite_backward(
    lg_call* call, int32_t dtype, const void* density, const void* features, const void* t_start, const void* t_end,
    const void* norms, const int64_t* offsets, int64_t rays, int64_t samples, int64_t channels, int32_t opacity,
    const void* grad_features_out, const void* grad_alpha, const void* grad_depth, const void* grad_weights,
    void* grad_density, void* grad_features, void* grad_t_start, void* grad_t_end, void* grad_norms);

/* Packed samples of rays through a box: as many as there are, then the samples themselves. origins, directions [rays, 3];
 * box [2, 3]; limits [rays, 2]: t_min and t_max; shifts [rays], or null: how much of the first step is left out, in [0,
 * 1). occupancy: null, or words of `levels` grids of cells, one behind another, as for marching; the grid of level k
 * covers the box scaled by 2^k about its centre, and the finest grid that has a point decides. counts int64 [rays];
 * offsets int64 [rays + 1], their sums; t_start, t_end [samples]. */
LG_API int32_t lg_sample_rays_count(
    lg_call* call, int32_t dtype, const void* origins, const void* directions, const void* box, const void* limits,
    const void* shifts, const int64_t* occupancy, int64_t rays, int64_t levels, int64_t occupied_slices,
    int64_t occupied_rows, int64_t occupied_columns, double step, int64_t* counts);

LG_API int32_t lg_sample_rays(
    lg_call* call, int32_t dtype, const void* origins, const void* directions, const void* box, const void* limits,
    const void* shifts, const int64_t* occupancy, const int64_t* offsets, int64_t rays, int64_t samples,
    int64_t levels, int64_t occupied_slices, int64_t occupied_rows, int64_t occupied_columns, double step,
    void* t_start, void* t_end);

/* x [points, axes], 2 or 3 axes; tables [sum of entries, channels]: one level's rows behind another's. entries and
 * resolutions: of each of at most 32 levels, in host memory: its rows, at most 2^31 - 1, and cells along an axis, at
 * most 2^20. out [points, levels * channels]. */
LG_API int32_t lg_hash_encode_forward(
    lg_call* call, int32_t dtype, const void* x, const void* tables, const int64_t* entries,
    const int64_t* resolutions, int64_t points, int64_t axes, int64_t levels, int64_t channels, void* out);

LG_API int32_t lg_hash_encode_backward(
    lg_call* call, int32_t dtype, const void* x, const void* tables, const int64_t* entries,
    const int64_t* resolutions, int64_t points, int64_t axes, int64_t levels, int64_t channels, const void* grad_out,
    void* grad_x, void* grad_tables);

/* ---- Implicit surfaces (native/implicit) -------------------------------------------------------------
 * values [depth, height, width]: inside is where a value is at most the level; NaN is outside. A row of the grid is
 * divided into `words` of 64 values. The two functions of marching cubes, the first of which counts:
 * bits int64 [depth, height, words]: which values are inside.
 * vertex_base int32 [depth * height * words * 3 + 1]: the number of vertices before those on the edges that begin at a
 * word's points along x, along y, and along z. cell_base int32 [2, depth * height * words + 1]: the number of triangles
 * and that of centres before those of a word's cells. totals int64 [3]: vertices on edges, triangles, centres; where
 * one is 2^31 or more, the others are of no use.
 */
LG_API int32_t lg_marching_cubes_count(
    lg_call* call, int32_t dtype, const void* values, double level, int64_t depth, int64_t height, int64_t width,
    int64_t words, int64_t* bits, int32_t* vertex_base, int32_t* cell_base, int64_t* totals);

/* verts [vertices, 3] in voxels: (x, y, z), the first value at 0. faces int32 [triangles, 3]; the number of a centre
 * begins behind those of the vertices. loops int32 [centres, 12]: the vertices around a centre, then -1. */
LG_API int32_t lg_marching_cubes_forward(
    lg_call* call, int32_t dtype, const void* values, const int64_t* bits, const int32_t* vertex_base,
    const int32_t* cell_base, double level, int64_t depth, int64_t height, int64_t width, int64_t words,
    int64_t vertices, int64_t triangles, int64_t centres, void* verts, int32_t* faces, int32_t* loops);

LG_API int32_t lg_marching_cubes_backward(
    lg_call* call, int32_t dtype, const void* values, const int64_t* bits, const int32_t* vertex_base, double level,
    int64_t depth, int64_t height, int64_t width, int64_t words, int64_t vertices, const void* grad_verts,
    void* grad_values);

/* Rays origins, directions [rays, 3] in voxels, through a grid that is trilinear between its values and constant in the
 * half of a voxel around them. Outputs [rays]: hit, where the ray first enters the inside, behind, where it does so
 * next, and near, where it comes closest to the surface if it passes within `band` of it: the lowest value where that is
 * above -band and below band. Infinite where there is none; near and behind are looked for where band > 0. */
LG_API int32_t lg_trace_grid(
    lg_call* call, int32_t dtype, const void* grid, const void* origins, const void* directions, int64_t depth,
    int64_t height, int64_t width, int64_t rays, double t_min, double t_max, double band, void* hit, void* near,
    void* behind);

/* Distances by rounds of sweeps. size [3]: that of a voxel along x, y and z. start [depth, height, width]: the distances
 * of voxels that have a neighbour on the other side of the surface, which keep them; infinite elsewhere. */
LG_API int32_t lg_redistance_start(
    lg_call* call, int32_t dtype, const void* values, const void* size, int64_t depth, int64_t height, int64_t width,
    void* start);

/* distance, out [depth, height, width]: without signs, before and after a round. */
LG_API int32_t lg_redistance_round(
    lg_call* call, int32_t dtype, const void* distance, const void* start, const void* size, int64_t depth,
    int64_t height, int64_t width, void* out);

/* ---- Light transport (native/light) ------------------------------------------------------------------
 * materials [.., 21]: color (3), roughness, metallic, ior, extinction (3), emission (3), alpha, alpha cutoff,
 * transmission, coat, coat roughness, normal scale, attenuation (3), see native/light/material.h.
 * kinds int32 [items, 2]: of each item's material: 0 diffuse, 1 metallic-roughness, 2 conductor, 3 dielectric,
 * 4 plastic, 5 solid metallic-roughness; whether it has two sides. wi, wo [items, 3]: unit directions away from the
 * surface, whose normal is +z.
 * value [items, 3]: what is sent to wi of the radiance from wo, with the cosine of wo; pdf [items]: of drawing wo.
 */
LG_API int32_t lg_bsdf_forward(
    lg_call* call, int32_t dtype, const void* materials, const int32_t* kinds, const void* wi, const void* wo,
    int64_t items, void* value, void* pdf);

LG_API int32_t lg_bsdf_backward(
    lg_call* call, int32_t dtype, const void* materials, const int32_t* kinds, const void* wi, const void* wo,
    int64_t items, const void* grad_value, void* grad_materials, void* grad_wi, void* grad_wo);

/* numbers [items, 3] in [0, 1). wo: zero where nothing is sent; weight [items, 3]: value / pdf; pdf: 0 of directions
 * that are the only ones. */
LG_API int32_t lg_sample_bsdf(
    lg_call* call, int32_t dtype, const void* materials, const int32_t* kinds, const void* wi, const void* numbers,
    int64_t items, void* wo, void* weight, void* pdf);

/* A scene for path tracing. Geometry: positions [vertices, 3], tri int32 [triangles, 3]; corner_normals [triangles, 3, 3],
 * corner_uvs and corner_second_uvs [triangles, 3, 2], corner_colors [triangles, 3, 3] (linear, they multiply the
 * colour), corner_tangents [triangles, 3, 4] (for normal maps; the fourth is the handedness) or null;
 * face_materials int32 [triangles].
 * kinds int32 [material_count, 12]: kind, two sides, the numbers of the textures of colour, of roughness and
 * metallic (channels 1 and 2), of emission, alpha (0), normals, transmission (0), coat (0) and coat roughness (1), or
 * -1; alpha mode; and a bit for each of these columns whose texture is looked up at the second coordinates.
 * alpha_modes int32 [material_count]: 0 opaque, 1 mask, 2 blend; null where all are opaque.
 * texels [texel_count, 3], linear: textures int64 [texture_count, 3] have their first texel, height and width; they
 * repeat.
 * Lamps are points, spots and distant lights: lamps [lamp_count, 12] = position (3), or the direction towards a distant
 * one; axis (3); cosines of the inner and the outer cone; reach; attenuation (3). lamp_intensities [lamp_count, 3];
 * lamp_kinds int32 [lamp_count]: 0 distant, 1 at a point; 2 likewise, cones by angle.
 * emitter_faces int32 [emitter_count]: the triangles that emit, emitter_sums [emitter_count + 1] from 0 to 1: the sums
 * of their probabilities, face_emitters int32 [triangles]: their numbers, or -1.
 * environment [6, side, side, 3], or null, turned by environment_rotation [3, 3] into the world; the sums of
 * probabilities of rows of its texels row_sums [6 side + 1] and, within a row, of texels texel_sums [6 side, side + 1].
 * Media, or null: media [medium_count, 7] = extinction (3), of grids a factor of the density; albedo (3); g of the phase
 * function. medium_grids int64 [medium_count, 5] = first value, depth, height, width and channels (1: density, 4: and an
 * albedo that multiplies the medium's; 0: no grid) of a grid in medium_values [medium_value_count].
 * medium_places [medium_count, 13] = corners of the grid's box (6), bounds of the medium's border (6), and how much more
 * often than light the paths of gradients collide, per distance. medium_faces int32 [triangles + 1, 2] = number of the
 * medium behind a triangle or -1, and whether light passes it as if it were not there; last, the medium that fills the
 * scene. */
typedef struct {
  const void* positions;
  const int32_t* tri;
  const void* corner_normals;
  const void* corner_uvs;
  const void* corner_second_uvs;
  const void* corner_colors;
  const void* corner_tangents;
  const int32_t* face_materials;
  const void* materials;
  const int32_t* kinds;
  const int32_t* alpha_modes;
  const void* texels;
  const int64_t* textures;
  const void* lamps;
  const void* lamp_intensities;
  const int32_t* lamp_kinds;
  const int32_t* emitter_faces;
  const void* emitter_sums;
  const int32_t* face_emitters;
  const void* environment;
  const void* environment_rotation;
  const void* row_sums;
  const void* texel_sums;
  const void* media;
  const int64_t* medium_grids;
  const void* medium_values;
  const void* medium_places;
  const int32_t* medium_faces;
  /* the tree over the triangles, see native/ray */
  const float* boxes;
  const int32_t* children;
  const void* corners;
  const int32_t* leaf_tri;
  const float* bounds;
  int64_t nodes, leaves;
  int64_t vertices, triangles, material_count, texture_count, texel_count, lamp_count, emitter_count, side;
  int64_t medium_count, medium_value_count;
} lg_lit_scene;

/* Paths through the pixels of an image. origins, directions [height + 1, width + 1, 3]: the rays at the corners of
 * pixels; those between are interpolated. `samples` paths a pixel, spread evenly over it, of at most max_depth segments.
 * Means over all samples: radiance [height, width, 3] of what surfaces send, alpha: how many meet a surface; and of
 * the surfaces met first, 0 where there is none, depth (in units of the direction), normal (3), albedo (3).
 * Where there are media: through [height, width, 3], what is seen of a background; and media count as surfaces. */
LG_API int32_t lg_trace_paths_forward(
    lg_call* call, int32_t dtype, const lg_lit_scene* scene, const void* origins, const void* directions,
    int64_t height, int64_t width, int32_t samples, int32_t max_depth, int64_t seed,
    void* radiance, void* alpha, void* depth, void* normal, void* albedo, void* through);

/* Draws paths of its own, by gradient_seed. */
LG_API int32_t lg_trace_paths_backward(
    lg_call* call, int32_t dtype, const lg_lit_scene* scene, const void* origins, const void* directions,
    int64_t height, int64_t width, int32_t samples, int32_t max_depth, int64_t gradient_seed,
    const void* grad_radiance, const void* grad_through, void* grad_positions, void* grad_corner_normals,
    void* grad_corner_uvs, void* grad_corner_second_uvs, void* grad_corner_colors, void* grad_materials,
    void* grad_texels, void* grad_lamps, void* grad_lamp_intensities, void* grad_environment,
    void* grad_environment_rotation, void* grad_media, void* grad_medium_values, void* grad_origins,
    void* grad_directions);

/* The gradient of what paths see of one another, which trace_paths leaves out, for an image of them. edge_ends int32
 * [edge_count, 2]: vertices. edge_shapes [edge_count, 13]: the ends (3 each), unit normals of both faces, and a factor;
 * edge_sums [edge_count + 1]: the sums of the probabilities with which edges are drawn; of each surface of a path as
 * many points of edges as `candidates` says are looked at. */
LG_API int32_t lg_path_edges_backward(
    lg_call* call, int32_t dtype, const lg_lit_scene* scene, const void* origins, const void* directions,
    int64_t height, int64_t width, int32_t samples, int32_t max_depth, int64_t seed, const int32_t* edge_ends,
    const void* edge_shapes, const void* edge_sums, int64_t edge_count, int32_t candidates,
    const void* grad_out, void* grad_positions, void* grad_corner_normals, void* grad_origins, void* grad_directions);

/* Direct light at points of triangles: hit_tri int32 [points], -1 for none, and bary [points, 2], the weights of vertices
 * 0 and 1; directions [points, 3] of the rays that hit them. `samples` directions to lights and of materials; lamps are
 * looked at once. Triangles block light of the environment up to the distance `reach`. radiance [points, 3] to where the
 * rays come from, normal, albedo; 0 where there is no triangle. */
LG_API int32_t lg_direct_light_forward(
    lg_call* call, int32_t dtype, const lg_lit_scene* scene, const int32_t* hit_tri, const void* bary,
    const void* directions, int64_t points, int32_t samples, double reach, int64_t seed,
    void* radiance, void* normal, void* albedo);

/* Draws directions of its own, by gradient_seed. */
LG_API int32_t lg_direct_light_backward(
    lg_call* call, int32_t dtype, const lg_lit_scene* scene, const int32_t* hit_tri, const void* bary,
    const void* directions, int64_t points, int32_t samples, double reach, int64_t gradient_seed,
    const void* grad_radiance, void* grad_corner_colors, void* grad_materials, void* grad_texels,
    void* grad_lamp_intensities, void* grad_environment);

/* ---- Rays and triangles (native/ray) -----------------------------------------------------------------
 * vertices [vertex_count, 3], faces int32 [triangles, 3]. A tree over the triangles, as native/ray/bvh.h describes it:
 * children int32 [nodes, 8]; leaf_tri int32 [leaves, 8]; boxes [nodes, 6, 8]; corners [leaves, 9, 8]; bounds [2, 3].
 * level_starts int64 [65]: the first node of each level, and behind the last level the number of nodes.
 *
 * The form of a tree, for the CPU. There is room for as many nodes and leaves as triangles, and one more node.
 * totals int64 [3]: how many nodes, leaves and levels there are. */
LG_API_CPU int32_t lg_bvh_topology(
    lg_call* call, int32_t dtype, const void* vertices, const int32_t* faces, int64_t vertex_count, int64_t triangles,
    int32_t* children, int32_t* leaf_tri, int64_t* level_starts, int64_t* totals);

/* All else of a tree. cost [1]: how many nodes and leaves a ray that meets the mesh's box meets on average. */
LG_API int32_t lg_bvh_refit(
    lg_call* call, int32_t dtype, const void* vertices, const int32_t* faces, const int32_t* children,
    const int32_t* leaf_tri, const int64_t* level_starts, int64_t vertex_count, int64_t triangles, int64_t nodes,
    int64_t leaves, int64_t levels, float* boxes, void* corners, float* bounds, double* cost);

/* origins, directions [rays, 3]; limits [rays, 2]: t_min and t_max of each ray, or null: those for all.
 * hit_tri int32 [rays], -1 for none; bary [rays, 2]; t [rays], infinite for none. */
LG_API int32_t lg_trace_forward(
    lg_call* call, int32_t dtype, const void* origins, const void* directions, const void* limits, const float* boxes,
    const int32_t* children, const void* corners, const int32_t* leaf_tri, const float* bounds, int64_t rays,
    int64_t nodes, int64_t leaves, int64_t triangles, int64_t levels, double t_min, double t_max,
    int32_t* hit_tri, void* bary, void* t);

LG_API int32_t lg_trace_backward(
    lg_call* call, int32_t dtype, const void* directions, const void* vertices,
    const int32_t* faces, const int32_t* hit_tri, const void* bary, const void* t, int64_t rays, int64_t vertex_count,
    int64_t triangles, const void* grad_bary, const void* grad_t,
    void* grad_origins, void* grad_directions, void* grad_vertices);

/* hit uint8 [rays]: 1 where a ray hits anything. */
LG_API int32_t lg_occluded(
    lg_call* call, int32_t dtype, const void* origins, const void* directions, const void* limits, const float* boxes,
    const int32_t* children, const void* corners, const int32_t* leaf_tri, const float* bounds, int64_t rays,
    int64_t nodes, int64_t leaves, int64_t triangles, int64_t levels, double t_min, double t_max, uint8_t* hit);

#endif
