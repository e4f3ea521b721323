// Compiler differences, in one place. Headers with the maths of an op use these so that nvcc can compile
// them too.
#pragma once

// LG_HD: small functions, always inlined. LG_SHARED: larger ones, inlined where the compiler sees fit on the CPU.
#if defined(__CUDACC__)
#define LG_HD __host__ __device__ __forceinline__
#define LG_SHARED __host__ __device__ __forceinline__
#elif defined(_MSC_VER)
#define LG_HD __forceinline
#define LG_SHARED
#else
#define LG_HD inline __attribute__((always_inline))
#if defined(LG_CUDA_EMULATED)
#define LG_SHARED LG_HD
#else
#define LG_SHARED
#endif
#endif

#if defined(__CUDACC__)
#define LG_RESTRICT __restrict__
#define LG_NOINLINE
#define LG_VECTORIZE
#elif defined(_MSC_VER)
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

// For short loops of constant length over arrays that should live in registers; CPU compilers need no telling.
#if defined(__CUDACC__)
#define LG_UNROLL _Pragma("unroll")
#else
#define LG_UNROLL
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
