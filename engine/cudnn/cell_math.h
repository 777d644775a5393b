// SPDX-License-Identifier: Apache-2.0
//
// The arithmetic of one LSTM cell element, for device and host. The same text runs in the kernels and, compiled by the
// host compiler, in the tests; results differ by a few ulp (expf, tanhf and erff of the two are not the same).
#ifndef LSTMD_ENGINE_CUDNN_CELL_MATH_H_
#define LSTMD_ENGINE_CUDNN_CELL_MATH_H_

#include <math.h>
#include <stdint.h>

#include "engine/host_device.h"

namespace lstmd::cudnn {

// As lstmd::Activation; `function` holds the value of lstmd::Function (checked in device_weights.cc).
struct DeviceActivation {
  int32_t function = 0;
  float alpha = 0;
  float beta = 0;
};

struct CellFunctions {
  DeviceActivation gate;
  DeviceActivation cell;
  DeviceActivation output;
};

LSTMD_HD float Sigmoid(float x) {
  // On -|x|, so that the exponential never overflows.
  const float e = expf(-fabsf(x));
  const float small = e / (1.0f + e);
  return x != x ? x : (x >= 0.0f ? 1.0f - small : small);
}

LSTMD_HD float Activate(const DeviceActivation& a, float x) {
  switch (a.function) {
    case 0:
      return Sigmoid(x);
    case 1:
      return tanhf(x);
    case 2: {
      const float y = a.alpha * x + a.beta;
      return y < 0.0f ? 0.0f : (y > 1.0f ? 1.0f : y);
    }
    case 3:
      return x < 0.0f ? 0.0f : x;  // NaN stays
    case 4:
      return x;
    case 5:
      return x / (1.0f + fabsf(x));  // NaN for infinities, as the frameworks
    case 6:
      return x > 0.0f ? x + log1pf(expf(-x)) : log1pf(expf(x));
    case 7:
      return x > 0.0f ? x : a.alpha * expm1f(x);
    case 8:
      return 1.0507009873554805f * (x > 0.0f ? x : 1.6732632423543772f * expm1f(x));
    case 9:
      return x * Sigmoid(x);
    case 10:
      return 0.5f * x * (1.0f + erff(x * 0.70710678118654752f));
    case 11:
      return x < 0.0f ? a.alpha * x : x;
    case 12:
      return x > a.alpha ? x : 0.0f;
    case 13:
      return a.alpha * tanhf(a.beta * x);
    default:
      return a.alpha * x + a.beta;
  }
}

LSTMD_HD float Clip(float x, float clip) {
  return clip > 0.0f ? (x > clip ? clip : (x < -clip ? -clip : x)) : x;  // NaN stays
}

// z_* with bias; p_* 0 without peepholes. Returns h before any projection; c is replaced by the new cell state.
LSTMD_HD float CellElement(const CellFunctions& fn, float clip, bool input_forget, float z_i, float z_f, float z_g,
                           float z_o, float p_i, float p_f, float p_o, float* c) {
  const float old = *c;
  const float i = Activate(fn.gate, Clip(p_i != 0.0f ? z_i + p_i * old : z_i, clip));
  const float f = input_forget ? 1.0f - i : Activate(fn.gate, Clip(p_f != 0.0f ? z_f + p_f * old : z_f, clip));
  const float g = Activate(fn.cell, Clip(z_g, clip));
  const float next = f * old + i * g;
  const float o = Activate(fn.gate, Clip(p_o != 0.0f ? z_o + p_o * next : z_o, clip));
  *c = next;
  return o * Activate(fn.output, next);
}

}  // namespace lstmd::cudnn

#endif  // LSTMD_ENGINE_CUDNN_CELL_MATH_H_
