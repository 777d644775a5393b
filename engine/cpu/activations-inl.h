// SPDX-License-Identifier: Apache-2.0
//
// Activations on vectors, for the instruction set that foreach_target.h is compiling. A lane's result depends on that
// lane alone.
//
// sigmoid and tanh share e^-|x|, which cannot overflow: sigmoid(|x|) = 1/(1+e), mirrored for x < 0; tanh(|x|) =
// (1-e^2)/(1+e^2), and an odd polynomial (cephes) where that would cancel. Both within 3 ulp of the exact value, also
// where it is subnormal. NaN stays NaN.
#if defined(LSTMD_ENGINE_CPU_ACTIVATIONS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LSTMD_ENGINE_CPU_ACTIVATIONS_INL_H_
#undef LSTMD_ENGINE_CPU_ACTIVATIONS_INL_H_
#else
#define LSTMD_ENGINE_CPU_ACTIVATIONS_INL_H_
#endif

#include <cmath>
#include <cstdint>

#include "engine/spec.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace lstmd::cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// e^-a for a >= 0; anything for NaN.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V ExpOfMinus(D d, V a) {
  const hn::RebindToSigned<D> di;
  // Past 104 the result is 0 anyway; the bound keeps the exponent arithmetic in range.
  const V x = hn::Neg(hn::Min(a, hn::Set(d, 104.0f)));
  const V n = hn::Round(hn::Mul(x, hn::Set(d, 1.44269504088896341f)));
  // x - n ln 2 in two parts, the first with few bits so that its product with n is exact.
  V r = hn::NegMulAdd(n, hn::Set(d, 0.693359375f), x);
  r = hn::NegMulAdd(n, hn::Set(d, -2.12194440e-4f), r);
  V p = hn::Set(d, 1.9875691500e-4f);
  p = hn::MulAdd(p, r, hn::Set(d, 1.3981999507e-3f));
  p = hn::MulAdd(p, r, hn::Set(d, 8.3334519073e-3f));
  p = hn::MulAdd(p, r, hn::Set(d, 4.1665795894e-2f));
  p = hn::MulAdd(p, r, hn::Set(d, 1.6666665459e-1f));
  p = hn::MulAdd(p, r, hn::Set(d, 5.0000001201e-1f));
  p = hn::Add(hn::MulAdd(hn::Mul(r, r), p, r), hn::Set(d, 1.0f));
  // 2^n in two factors, since n reaches -150 and 2^n may be subnormal.
  const auto ni = hn::ConvertTo(di, n);
  const auto half = hn::ShiftRight<1>(ni);
  const auto bias = hn::Set(di, 127);
  const V scale1 = hn::BitCast(d, hn::ShiftLeft<23>(hn::Add(half, bias)));
  const V scale2 = hn::BitCast(d, hn::ShiftLeft<23>(hn::Add(hn::Sub(ni, half), bias)));
  return hn::Mul(hn::Mul(p, scale1), scale2);
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V Sigmoid(D d, V x) {
  const V one = hn::Set(d, 1.0f);
  const V e = ExpOfMinus(d, hn::Abs(x));
  const V y = hn::Div(hn::IfThenElse(hn::Lt(x, hn::Zero(d)), e, one), hn::Add(one, e));
  return hn::IfThenElse(hn::Eq(x, x), y, x);
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V Tanh(D d, V x) {
  const V one = hn::Set(d, 1.0f);
  const V a = hn::Abs(x);
  const V e = ExpOfMinus(d, hn::Add(a, a));
  const V large = hn::Div(hn::Sub(one, e), hn::Add(one, e));
  const V s = hn::Mul(x, x);
  V p = hn::Set(d, -5.70498872745e-3f);
  p = hn::MulAdd(p, s, hn::Set(d, 2.06390887954e-2f));
  p = hn::MulAdd(p, s, hn::Set(d, -5.37397155531e-2f));
  p = hn::MulAdd(p, s, hn::Set(d, 1.33314422036e-1f));
  p = hn::MulAdd(p, s, hn::Set(d, -3.33332819422e-1f));
  const V small = hn::MulAdd(hn::Mul(p, s), a, a);
  const V y = hn::CopySignToAbs(hn::IfThenElse(hn::Lt(a, hn::Set(d, 0.625f)), small, large), x);
  return hn::IfThenElse(hn::Eq(x, x), y, x);
}

// Those that nobody needs fast: libm, one lane at a time.
inline float SlowFunction(Function function, float alpha, float x) {
  switch (function) {
    case Function::kSoftplus:
      return x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x));
    case Function::kElu:
      return x > 0 ? x : alpha * std::expm1(x);
    case Function::kSelu:
      return 1.05070098735548049342f * (x > 0 ? x : 1.67326324235437728481f * std::expm1(x));
    case Function::kGelu:
      return 0.5f * x * std::erfc(x * -0.70710678118654752440f);
    default:
      return x;
  }
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V Slow(D d, const Activation& activation, V x) {
  HWY_ALIGN float lanes[hn::MaxLanes(d)];
  hn::Store(x, d, lanes);
  for (size_t i = 0; i < hn::Lanes(d); ++i) lanes[i] = SlowFunction(activation.function, activation.alpha, lanes[i]);
  return hn::Load(d, lanes);
}

template <class D, class V = hn::Vec<D>>
HWY_NOINLINE V Activate(D d, const Activation& activation, V x) {
  const V zero = hn::Zero(d);
  const V one = hn::Set(d, 1.0f);
  const V alpha = hn::Set(d, activation.alpha);
  const V beta = hn::Set(d, activation.beta);
  switch (activation.function) {
    case Function::kSigmoid:
      return Sigmoid(d, x);
    case Function::kTanh:
      return Tanh(d, x);
    case Function::kLinear:
      return x;
    case Function::kHardSigmoid: {
      const V y = hn::MulAdd(alpha, x, beta);
      return hn::IfThenElse(hn::Gt(y, one), one, hn::IfThenElse(hn::Lt(y, zero), zero, y));
    }
    case Function::kRelu:
      return hn::IfThenElse(hn::Le(x, zero), zero, x);
    case Function::kSoftsign:
      return hn::Div(x, hn::Add(one, hn::Abs(x)));
    case Function::kSilu:
      return hn::Mul(x, Sigmoid(d, x));
    case Function::kLeakyRelu:
      return hn::IfThenElse(hn::Ge(x, zero), x, hn::Mul(alpha, x));
    case Function::kThresholdedRelu:
      return hn::IfThenElse(hn::Gt(x, alpha), x, zero);
    case Function::kScaledTanh:
      return hn::Mul(alpha, Tanh(d, hn::Mul(beta, x)));
    case Function::kAffine:
      return hn::MulAdd(alpha, x, beta);
    case Function::kSoftplus:
    case Function::kElu:
    case Function::kSelu:
    case Function::kGelu:
      return Slow(d, activation, x);
  }
  return x;
}

// To [-limit, limit]; NaN passes.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V Clip(D d, V x, float limit) {
  const V high = hn::Set(d, limit);
  const V low = hn::Set(d, -limit);
  return hn::IfThenElse(hn::Gt(x, high), high, hn::IfThenElse(hn::Lt(x, low), low, x));
}

}  // namespace HWY_NAMESPACE
}  // namespace lstmd::cpu
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
