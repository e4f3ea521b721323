// Materials by themselves: a value, a gradient or a draw for each item.
#pragma once

#include <cstdint>

#include "light/bsdf.h"
#include "math/scalar.h"

namespace lg::light {

template <class T>
struct BsdfItems {
  const T* materials;
  const int32_t* kinds;
  const T* wi;

  LG_HD Material<T> material(int64_t item) const {
    return load_material(materials + material_columns * item, kinds[2 * item], kinds[2 * item + 1] != 0);
  }
};

template <class T>
struct BsdfForward {
  BsdfItems<T> items;
  const T* wo;
  T *value, *pdf;

  LG_HD void operator()(int64_t item) const {
    const Material<T> m = items.material(item);
    const Vec3<T> in = load3(items.wi + 3 * item), out = load3(wo + 3 * item);
    T found[3];
    bsdf_value(m, in, out, found);
    for (int c = 0; c < 3; ++c) value[3 * item + c] = found[c];
    pdf[item] = bsdf_pdf(m, in, out);
  }
};

template <class T>
struct BsdfBackward {
  BsdfItems<T> items;
  const T *wo, *grad_value;
  T *grad_materials, *grad_wi, *grad_wo;  // each may be null

  LG_HD void operator()(int64_t item) const {
    const Material<T> m = items.material(item);
    if (has_layers(m)) {
      pull<layered_variables>(item, m);
    } else {
      pull<variables>(item, m);
    }
  }

 private:
  template <int base>
  LG_HD void pull(int64_t item, const Material<T>& m) const {
    const Vec3<T> in = load3(items.wi + 3 * item), out = load3(wo + 3 * item), given = load3(grad_value + 3 * item);
    if (grad_wi || grad_wo) {
      constexpr int all = base + direction_variables;
      Dual<T, all> value[3];
      bsdf_value(with_derivatives<base, all>(m), with_derivatives<all>(in, base), with_derivatives<all>(out, base + 3),
                 value);
      pull_row<base>(item, value, given);
      if (grad_wi) store_finite(pull_direction(value, given, base), grad_wi + 3 * item);
      if (grad_wo) store_finite(pull_direction(value, given, base + 3), grad_wo + 3 * item);
    } else {
      Dual<T, base> value[3];
      bsdf_value(with_derivatives<base, base>(m), in, out, value);
      pull_row<base>(item, value, given);
    }
  }

  template <int base, int N>
  LG_HD void pull_row(int64_t item, const Dual<T, N> (&value)[3], const Vec3<T>& given) const {
    if (!grad_materials) return;
    T row[material_columns] = {};
    pull_back<base>(value, given, row);
    for (int k = 0; k < material_columns; ++k) grad_materials[material_columns * item + k] = finite(row[k]);
  }
  LG_HD static void store_finite(const Vec3<T>& v, T* to) {
    store3(Vec3<T>{finite(v.x), finite(v.y), finite(v.z)}, to);
  }
};

template <class T>
struct SampleBsdf {
  BsdfItems<T> items;
  const T* numbers;
  T *wo, *weight, *pdf;

  LG_HD void operator()(int64_t item) const {
    const T* u = numbers + 3 * item;
    BsdfSample<T> s;
    sample_bsdf(items.material(item), load3(items.wi + 3 * item), u[0], u[1], u[2], &s);
    store3(s.wo, wo + 3 * item);
    store3(s.weight, weight + 3 * item);
    pdf[item] = s.pdf;
  }
};

template <class T>
BsdfItems<T> make_bsdf_items(const void* materials, const int32_t* kinds, const void* wi) {
  return {static_cast<const T*>(materials), kinds, static_cast<const T*>(wi)};
}

}  // namespace lg::light
