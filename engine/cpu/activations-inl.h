// SPDX-License-Identifier: Apache-2.0
//
// Activations on vectors, for the instruction set that foreach_target.h is compiling. A lane's result depends on that
// lane alone.
//
// sigmoid and tanh begin with e^-a = 2^n e^r, a >= 0, which cannot overflow. sigmoid(|x|) = 1/(1+e^-|x|), mirrored for
// x < 0, so that small results keep their precision. tanh(|x|) = -m/(2+m) with m = e^-2|x| - 1 = 2^n (e^r - 1) + (2^n -
// 1), which does not cancel where x is small. Both are within 3 ulp of the exact value, also where it is subnormal. NaN
// stays NaN.
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

// e^-a = 2^n (1 + p), p small.
template <class V>
struct Exponential {
  V n;
  V p;
};

// For a >= 0 or NaN. Beyond `most`, which is below 2^20, as if a were that.
template <class D, class V = hn::Vec<D>>
HWY_INLINE Exponential<V> ExpOfMinus(D d, V a, float most) {
  const V limit = hn::Set(d, most);
  a = hn::IfThenElse(hn::Gt(a, limit), limit, a);  // Min would lose NaN on some machines
  const V n = hn::Round(hn::Mul(a, hn::Set(d, -1.44269504088896341f)));
  // -a - n ln 2 in two parts, the first with few bits so that its product with n is exact.
  V r = hn::Neg(hn::MulAdd(n, hn::Set(d, 0.693359375f), a));
  r = hn::NegMulAdd(n, hn::Set(d, -2.12194440e-4f), r);
  // e^r - 1 on ±(ln 2)/2 to 3e-9: minimax.
  const V r2 = hn::Mul(r, r);
  const V low = hn::MulAdd(hn::Set(d, 0.166665211f), r, hn::Set(d, 0.49999994f));
  V high = hn::MulAdd(hn::Set(d, 0.00836873055f), r, hn::Set(d, 0.041668389f));
  high = hn::MulAdd(hn::Set(d, 0.00138145697f), r2, high);
  return {n, hn::MulAdd(hn::MulAdd(high, r2, low), r2, r)};
}

// x * 2^n for an integer n from -150 to 0.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V TimesPowerOf2(D d, V x, V n) {
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL
  (void)d;
  return V{_mm512_scalef_ps(x.raw, n.raw)};
#else
  // In two factors: 2^n may be subnormal.
  const hn::RebindToSigned<D> di;
  const auto bias = hn::Set(di, 127);
  // A NaN comes back in by x; as an integer it would be undefined.
  const auto all = hn::ConvertTo(di, hn::IfThenElseZero(hn::Eq(n, n), n));
  const auto half = hn::ShiftRight<1>(all);
  const V factor1 = hn::BitCast(d, hn::ShiftLeft<23>(hn::Add(half, bias)));
  const V factor2 = hn::BitCast(d, hn::ShiftLeft<23>(hn::Add(hn::Sub(all, half), bias)));
  return hn::Mul(hn::Mul(x, factor1), factor2);
#endif
}

// What a value is the quotient of: the cell multiplies some before it divides.
template <class V>
struct Quotient {
  V over;
  V under;  // 1 to 2
};

template <class D, class V = hn::Vec<D>>
HWY_INLINE Quotient<V> SigmoidQuotient(D d, V x) {
  const V one = hn::Set(d, 1.0f);
  const Exponential<V> e = ExpOfMinus(d, hn::Abs(x), 104.0f);  // e^-104 is 0
  const V power = TimesPowerOf2(d, hn::Add(one, e.p), e.n);
  return {hn::IfThenElse(hn::Lt(x, hn::Zero(d)), power, one), hn::Add(one, power)};
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE Quotient<V> TanhQuotient(D d, V x) {
  const V a = hn::Abs(x);
  const Exponential<V> e = ExpOfMinus(d, hn::Add(a, a), 20.0f);  // 1 - e^-20 is 1
  const V power = TimesPowerOf2(d, hn::Set(d, 1.0f), e.n);
  const V m = hn::MulAdd(power, e.p, hn::Sub(power, hn::Set(d, 1.0f)));
  return {hn::CopySign(m, x), hn::Add(hn::Set(d, 2.0f), m)};
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V Sigmoid(D d, V x) {
  const Quotient<V> q = SigmoidQuotient(d, x);
  return hn::Div(q.over, q.under);
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V Tanh(D d, V x) {
  const Quotient<V> q = TanhQuotient(d, x);
  return hn::Div(q.over, q.under);
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
