/* Opens a compiled core and prints a checksum of what a few of its ops compute, forward and backward, on one thread and
 * on three: `call_library LIBRARY`. Libraries of all systems must print the same (.ci/windows.sh). Knows the header
 * alone.
 */
#include "lumigrad.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(_WIN32)
#include <windows.h>
static void* library;
static void* find(const char* name) { return (void*)GetProcAddress((HMODULE)library, name); }
static void* open_library(const char* path) { return (void*)LoadLibraryA(path); }
#else
#include <dlfcn.h>
static void* library;
static void* find(const char* name) { return dlsym(library, name); }
static void* open_library(const char* path) { return dlopen(path, RTLD_NOW); }
#endif

#define SIDE 64
#define PIXELS (SIDE * SIDE)
#define TRIANGLES 200
#define VERTICES (3 * TRIANGLES)
#define CHANNELS 3
#define VOXELS 8

static float pos[4 * VERTICES], attr[CHANNELS * VERTICES], grad_pos[4 * VERTICES], grad_attr[CHANNELS * VERTICES];
static int32_t tri[3 * TRIANGLES], topology[3 * TRIANGLES], frag_tri[PIXELS];
static float bary[2 * PIXELS], depth[PIXELS], bary_d[4 * PIXELS], grad_bary[2 * PIXELS], ones[4 * PIXELS];
static float image[CHANNELS * PIXELS];
static float grid[4 * VOXELS * VOXELS * VOXELS], origins[3 * PIXELS], directions[3 * PIXELS], limits[2 * PIXELS];
static float box[6] = {-1, -1, -1, 1, 1, 1}, features[3 * PIXELS], alpha[PIXELS], distance[PIXELS], median[PIXELS];

/* Multiples of 2^-16 in [0, 1): the same numbers everywhere. */
static float next_random(void) {
  static uint64_t state = 1;
  state = state * 6364136223846793005u + 1442695040888963407u;
  return (float)(state >> 48) / 65536.0f;
}

static void make_scene(void) {
  for (int v = 0; v < VERTICES; ++v) {
    const float w = 1 + next_random();
    for (int c = 0; c < 3; ++c) pos[4 * v + c] = w * (1.5f * next_random() - 0.75f);
    pos[4 * v + 3] = w;
    for (int c = 0; c < CHANNELS; ++c) attr[CHANNELS * v + c] = next_random();
    tri[v] = v;
  }
  for (int i = 0; i < 4 * VOXELS * VOXELS * VOXELS; ++i) grid[i] = 2 * next_random() - 0.5f;
  for (int i = 0; i < 4 * PIXELS; ++i) ones[i] = 1;
  for (int p = 0; p < PIXELS; ++p) {
    const float start[3] = {(p % SIDE) / 32.0f - 1, (p / SIDE) / 32.0f - 1, 2}, along[3] = {0.125f, -0.25f, -1};
    memcpy(origins + 3 * p, start, sizeof start);
    memcpy(directions + 3 * p, along, sizeof along);
    limits[2 * p + 1] = 8;
  }
}

static void check(const char* op, int32_t status) {
  if (status == LG_OK) return;
  const char* (*last_error)(void) = (const char* (*)(void))find("lg_last_error");
  printf("%s: status %d: %s\n", op, (int)status, last_error());
  exit(1);
}

/* FNV-1a. */
static void print_sum(const char* name, const void* data, size_t bytes) {
  uint64_t sum = 14695981039346656037u;
  for (size_t i = 0; i < bytes; ++i) sum = (sum ^ ((const unsigned char*)data)[i]) * 1099511628211u;
  printf("  %-24s %016" PRIx64 "\n", name, sum);
}

#define PRINT(array) print_sum(#array, array, sizeof array)
#define FUNCTION(name) __typeof__(&name) call_##name = (__typeof__(&name))find(#name)

static void run(int32_t threads) {
  FUNCTION(lg_rasterize_forward);
  FUNCTION(lg_rasterize_backward);
  FUNCTION(lg_interpolate_forward);
  FUNCTION(lg_interpolate_backward);
  FUNCTION(lg_edge_topology);
  FUNCTION(lg_march_forward);
  lg_call call = {threads, 0, NULL, NULL, 0};
  int covered = 0;
  printf("%d threads\n", (int)threads);
  check("edge_topology", call_lg_edge_topology(&call, tri, NULL, VERTICES, TRIANGLES, topology));
  check("rasterize", call_lg_rasterize_forward(&call, LG_FLOAT32, pos, tri, NULL, 1, VERTICES, TRIANGLES, SIDE, SIDE, 8,
                                               NULL, NULL, 0, frag_tri, bary, depth, bary_d, NULL, NULL));
  check("interpolate", call_lg_interpolate_forward(&call, LG_FLOAT32, attr, tri, frag_tri, bary, NULL, NULL, NULL, 1, 1,
                                                   VERTICES, CHANNELS, TRIANGLES, SIDE, SIDE, 0, image, NULL));
  check("interpolate, backward",
        call_lg_interpolate_backward(&call, LG_FLOAT32, attr, tri, frag_tri, bary, NULL, NULL, NULL, 1, 1, VERTICES,
                                     CHANNELS, TRIANGLES, SIDE, SIDE, 0, ones, NULL, grad_attr, grad_bary, NULL, NULL));
  check("rasterize, backward", call_lg_rasterize_backward(&call, LG_FLOAT32, pos, tri, 1, 1, VERTICES, TRIANGLES, SIDE,
                                                          SIDE, 0, frag_tri, grad_bary, NULL, ones, NULL, grad_pos));
  check("march", call_lg_march_forward(&call, LG_FLOAT32, grid, origins, directions, box, limits, NULL, PIXELS, VOXELS,
                                       VOXELS, VOXELS, 4, 0, 0, 0, 0.03125, 2, 0.0, features, alpha, distance, median));
  for (int p = 0; p < PIXELS; ++p) covered += frag_tri[p] >= 0;
  printf("  covered pixels           %d\n", covered);
  PRINT(topology);
  PRINT(frag_tri);
  PRINT(bary);
  PRINT(depth);
  PRINT(bary_d);
  PRINT(image);
  PRINT(grad_attr);
  PRINT(grad_bary);
  PRINT(grad_pos);
  PRINT(features);
  PRINT(alpha);
  PRINT(distance);
}

int main(int count, char** arguments) {
  if (count != 2) return printf("usage: call_library LIBRARY\n"), 2;
  library = open_library(arguments[1]);
  if (!library) return printf("%s does not load\n", arguments[1]), 1;
  int32_t (*abi_version)(void) = (int32_t (*)(void))find("lg_abi_version");
  if (!abi_version || abi_version() != LG_ABI_VERSION) return printf("it has another interface\n"), 1;
  make_scene();
  run(1);
  run(3);
  return 0;
}
