// LG_HD_CALL: functions of host and device that are too large to be inlined wherever they are used: on the device, too,
// they are called.
#pragma once

#if defined(__CUDACC__)
#define LG_HD_CALL __host__ __device__ __noinline__
#else
#define LG_HD_CALL
#endif
