// Materials by themselves on the CPU.
#include <cstdint>

#include "light/bsdf_items.h"
#include "light/shared_cpu.h"
#include "lumigrad.h"
#include "parallel/for_each.h"
#include "runtime/status.h"

namespace lg::light {

LG_MATERIALS(, float)
LG_MATERIALS(, double)

}  // namespace lg::light

int32_t lg_bsdf_forward(lg_call* call, int32_t dtype, const void* materials, const int32_t* kinds, const void* wi,
                        const void* wo, int64_t items, void* value, void* pdf) {
  return lg::dispatch(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const lg::light::BsdfForward<T> body = {lg::light::make_bsdf_items<T>(materials, kinds, wi),
                                            static_cast<const T*>(wo), static_cast<T*>(value), static_cast<T*>(pdf)};
    lg::for_each(call->threads, items, body);
  });
}

int32_t lg_bsdf_backward(lg_call* call, int32_t dtype, const void* materials, const int32_t* kinds, const void* wi,
                         const void* wo, int64_t items, const void* grad_value, void* grad_materials, void* grad_wi,
                         void* grad_wo) {
  return lg::dispatch(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const lg::light::BsdfBackward<T> body = {lg::light::make_bsdf_items<T>(materials, kinds, wi),
                                             static_cast<const T*>(wo),
                                             static_cast<const T*>(grad_value),
                                             static_cast<T*>(grad_materials),
                                             static_cast<T*>(grad_wi),
                                             static_cast<T*>(grad_wo)};
    lg::for_each(call->threads, items, body);
  });
}

int32_t lg_sample_bsdf(lg_call* call, int32_t dtype, const void* materials, const int32_t* kinds, const void* wi,
                       const void* numbers, int64_t items, void* wo, void* weight, void* pdf) {
  return lg::dispatch(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const lg::light::SampleBsdf<T> body = {lg::light::make_bsdf_items<T>(materials, kinds, wi),
                                           static_cast<const T*>(numbers), static_cast<T*>(wo), static_cast<T*>(weight),
                                           static_cast<T*>(pdf)};
    lg::for_each(call->threads, items, body);
  });
}
