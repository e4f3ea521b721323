// One body for every item: a parallel loop on the CPU, a grid of threads on CUDA.
//
// Use this for an op whose items share nothing but what they read: one output pixel, vertex, ray or texel each. Such an
// op consists of
//
//   <family>/<op>.h         the maths of one item, and the body: a struct that holds the op's inputs and outputs as
//                           pointers and numbers, with
//                             LG_HD void operator()(int64_t item) const
//                           It reads what it likes, writes what belongs to the item alone, and is the only place that
//                           computes an item.
//   <family>/<op>_cpu.cpp   the exported function: make the body, then for_each(call->threads, items, body)
//   <family>/<op>_cuda.cu   the same function: make the body, then return run_for_each(call, items, body)
//
// If the op needs several passes or a workspace on CUDA, its struct has plan() and run() as described for run_op() in
// runtime/cuda/launch.h, and run() calls for_each(queue, items, body) for each pass.
//
// For bodies that are not independent, there is corner_gradients.h, which sums the gradients that many pixels
// contribute to the corners of triangles.
//
// A body is a struct and not a lambda, so that nvcc compiles it without extended lambdas.
#pragma once

#include <algorithm>
#include <cstdint>

#include "math/divide_up.h"

#if defined(__CUDACC__) || defined(LG_CUDA_EMULATED)
#include "runtime/cuda/launch.h"
#else
#include "runtime/threads.h"
#endif

namespace lg {

#if defined(__CUDACC__) || defined(LG_CUDA_EMULATED)

template <class Body>
__global__ void __launch_bounds__(items_per_block) run_body(const __grid_constant__ Body body, int64_t items) {
  for (int64_t item = first_item(); item < items; item += item_step()) body(item);
}

template <class Body>
void for_each(Queue& queue, int64_t items, const Body& body) {
  queue.launch_items(run_body<Body>, items, body, items);
}

template <class Body>
struct ForEach {
  int64_t items;
  const Body& body;

  void plan(Workspace&) {}
  void run(Queue& queue) { for_each(queue, items, body); }
};

template <class Body>
int32_t run_for_each(lg_call* call, int64_t items, const Body& body) {
  return run_op(call, ForEach<Body>{items, body});
}

#else

// items_per_task: as many as are worth handing to a thread.
template <class Body>
void for_each(int32_t threads, int64_t items, const Body& body, int64_t items_per_task = 1024) {
  parallel_for(threads, divide_up(items, items_per_task), [&](int64_t task, int) {
    const int64_t end = std::min(items, (task + 1) * items_per_task);
    for (int64_t item = task * items_per_task; item < end; ++item) body(item);
  });
}

#endif

}  // namespace lg
