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

// The smaller one, or a where a is NaN.
template <class V>
HWY_INLINE V AtMost(V a, V most) {
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL
  return hn::Min(most, a);  // x86's takes the second where one is NaN
#else
  return hn::IfThenElse(hn::Gt(a, most), most, a);
#endif
}

// For a >= 0 or NaN. Beyond `most`, which is below 2^20, as if a were that. Of N values, operation by operation.
template <int N, class D, class V = hn::Vec<D>>
HWY_INLINE void ExpsOfMinus(D d, V (&a)[N], const V (&most)[N], Exponential<V> (&e)[N]) {
  V r[N], r2[N], low[N], high[N];
#pragma GCC unroll 8
  for (int j = 0; j < N; ++j) a[j] = AtMost(a[j], most[j]);
#pragma GCC unroll 8
  for (int j = 0; j < N; ++j) e[j].n = hn::Round(hn::Mul(a[j], hn::Set(d, -1.44269504088896341f)));
    // -a - n ln 2 in two parts, the first with few bits so that its product with n is exact.
#pragma GCC unroll 8
  for (int j = 0; j < N; ++j) r[j] = hn::NegMulSub(e[j].n, hn::Set(d, 0.693359375f), a[j]);
#pragma GCC unroll 8
  for (int j = 0; j < N; ++j) r[j] = hn::NegMulAdd(e[j].n, hn::Set(d, -2.12194440e-4f), r[j]);
    // e^r - 1 on ±(ln 2)/2 to 3e-9: minimax.
#pragma GCC unroll 8
  for (int j = 0; j < N; ++j) r2[j] = hn::Mul(r[j], r[j]);
#pragma GCC unroll 8
  for (int j = 0; j < N; ++j) low[j] = hn::MulAdd(hn::Set(d, 0.166665211f), r[j], hn::Set(d, 0.49999994f));
#pragma GCC unroll 8
  for (int j = 0; j < N; ++j) high[j] = hn::MulAdd(hn::Set(d, 0.00836873055f), r[j], hn::Set(d, 0.041668389f));
#pragma GCC unroll 8
  for (int j = 0; j < N; ++j) high[j] = hn::MulAdd(hn::Set(d, 0.00138145697f), r2[j], high[j]);
#pragma GCC unroll 8
  for (int j = 0; j < N; ++j) high[j] = hn::MulAdd(high[j], r2[j], low[j]);
#pragma GCC unroll 8
  for (int j = 0; j < N; ++j) e[j].p = hn::MulAdd(high[j], r2[j], r[j]);
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

// Beyond these, e^-a is as good as 0.
constexpr float kMostOfSigmoid = 104.0f;
constexpr float kMostOfTanh = 20.0f;

// sigmoid(x) from e^-|x|
template <class D, class V = hn::Vec<D>>
HWY_INLINE Quotient<V> SigmoidOf(D d, V x, const Exponential<V>& e) {
  const V one = hn::Set(d, 1.0f);
  const V power = TimesPowerOf2(d, hn::Add(one, e.p), e.n);
  return {hn::IfThenElse(hn::Lt(x, hn::Zero(d)), power, one), hn::Add(one, power)};
}

// tanh(x) from e^-2|x|
template <class D, class V = hn::Vec<D>>
HWY_INLINE Quotient<V> TanhOf(D d, V x, const Exponential<V>& e) {
  const V power = TimesPowerOf2(d, hn::Set(d, 1.0f), e.n);
  const V m = hn::MulAdd(power, e.p, hn::Sub(power, hn::Set(d, 1.0f)));
  return {hn::CopySign(m, x), hn::Add(hn::Set(d, 2.0f), m)};
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V Sigmoid(D d, V x) {
  V a[1] = {hn::Abs(x)};
  const V most[1] = {hn::Set(d, kMostOfSigmoid)};
  Exponential<V> e[1];
  ExpsOfMinus<1>(d, a, most, e);
  const Quotient<V> q = SigmoidOf(d, x, e[0]);
  return hn::Div(q.over, q.under);
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V Tanh(D d, V x) {
  V a[1] = {hn::Add(hn::Abs(x), hn::Abs(x))};
  const V most[1] = {hn::Set(d, kMostOfTanh)};
  Exponential<V> e[1];
  ExpsOfMinus<1>(d, a, most, e);
  const Quotient<V> q = TanhOf(d, x, e[0]);
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
