// Compiler differences, in one place. Headers with the maths of an op use these so that nvcc can compile them too.
// Compilers: GCC and Clang (on Windows clang-cl), and nvcc.
#pragma once

// LG_INLINE: small functions of the CPU, always inlined; LG_INLINE_LAMBDA: the same for lambdas, after their
// parameters. LG_HD: small functions of host and device, always inlined. LG_HD_LARGE: larger functions of both,
// inlined on the device, and at the compiler's discretion on the CPU. Under AddressSanitizer, nothing is
// force-inlined: instrumented copies of every small function would take the compiler many minutes and
// gigabytes.
#if defined(__SANITIZE_ADDRESS__)
#define LG_INLINE inline
#else
#define LG_INLINE inline __attribute__((always_inline))
#endif
#if defined(__CUDACC__) || defined(__SANITIZE_ADDRESS__)
#define LG_INLINE_LAMBDA
#else
#define LG_INLINE_LAMBDA __attribute__((always_inline))
#endif
#if defined(__CUDACC__)
#define LG_HD __host__ __device__ __forceinline__
#define LG_HD_LARGE LG_HD
#else
#define LG_HD LG_INLINE
#if defined(LG_CUDA_EMULATED)
#define LG_HD_LARGE LG_HD
#else
#define LG_HD_LARGE
#endif
#endif

#if defined(__CUDACC__)
#define LG_NOINLINE
#define LG_VECTORIZE
#else
#define LG_NOINLINE __attribute__((noinline))
#if defined(__clang__)
#define LG_VECTORIZE _Pragma("clang loop vectorize(assume_safety)")
#else
#define LG_VECTORIZE _Pragma("GCC ivdep")
#endif
#endif
#define LG_RESTRICT __restrict__

// For short loops of constant length over arrays that should live in registers; CPU compilers need no hint.
#if defined(__CUDACC__)
#define LG_UNROLL _Pragma("unroll")
#else
#define LG_UNROLL
#endif

// Prefetches memory that will be read soon. Meshes are visited in an order that no hardware predicts.
#define LG_PREFETCH(address) __builtin_prefetch(address)

#define LG_LIKELY(x) __builtin_expect(!!(x), 1)
#define LG_UNLIKELY(x) __builtin_expect(!!(x), 0)
