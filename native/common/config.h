// Compiler differences, in one place. Headers with the maths of an op use these so that nvcc can compile
// them too.
#pragma once

#if defined(__CUDACC__)
#define LG_HD __host__ __device__ __forceinline__
#elif defined(_MSC_VER)
#define LG_HD __forceinline
#else
#define LG_HD inline __attribute__((always_inline))
#endif

#if defined(_MSC_VER)
#define LG_RESTRICT __restrict
#define LG_NOINLINE __declspec(noinline)
#define LG_VECTORIZE
#elif defined(__clang__)
#define LG_RESTRICT __restrict__
#define LG_NOINLINE __attribute__((noinline))
#define LG_VECTORIZE _Pragma("clang loop vectorize(enable)")
#else
#define LG_RESTRICT __restrict__
#define LG_NOINLINE __attribute__((noinline))
#define LG_VECTORIZE _Pragma("GCC ivdep")
#endif

// Asks for memory that will be read soon. Meshes are visited in an order that no hardware foresees.
#if defined(__GNUC__) || defined(__clang__)
#define LG_PREFETCH(address) __builtin_prefetch(address)
#else
#define LG_PREFETCH(address) static_cast<void>(address)
#endif

#if defined(__GNUC__) || defined(__clang__)
#define LG_LIKELY(x) __builtin_expect(!!(x), 1)
#define LG_UNLIKELY(x) __builtin_expect(!!(x), 0)
#else
#define LG_LIKELY(x) (x)
#define LG_UNLIKELY(x) (x)
#endif
