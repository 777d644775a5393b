// SPDX-License-Identifier: Apache-2.0
#ifndef LSTMD_ENGINE_CUDNN_OPTIONS_H_
#define LSTMD_ENGINE_CUDNN_OPTIONS_H_

namespace lstmd::cudnn {

struct CudnnOptions {
  // GPU number.
  int device = 0;
  // float32 products may round their operands to TF32: several times the speed, errors near 1e-3 instead of 1e-6.
  bool allow_tf32 = false;
  // Slices of at least this many steps go through cudnnRNNForward, shorter ones through the cell kernels. Smaller: more
  // of cuDNN, which costs more a call.
  int rnn_min_steps = 8;
  // Replay single steps as CUDA graphs. Off: the same calls one by one, for comparison.
  bool graphs = true;
};

}  // namespace lstmd::cudnn

#endif  // LSTMD_ENGINE_CUDNN_OPTIONS_H_
