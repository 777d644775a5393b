// SPDX-License-Identifier: Apache-2.0
//
// The peer in the same process: oneDNN's LSTM primitive, one layer, I = H, in f32 or with bfloat16 weights and
// activations.
#ifndef LSTMD_TESTS_BENCH_ONEDNN_LSTM_H_
#define LSTMD_TESTS_BENCH_ONEDNN_LSTM_H_

#include <memory>
#include <string>

namespace lstmd::bench {

class OneDnnLstm {
 public:
  // Throws dnnl::error where oneDNN cannot (bfloat16 before AVX-512).
  OneDnnLstm(int steps, int batch, int hidden, bool bf16);
  ~OneDnnLstm();

  // All steps of the batch, weights already in the primitive's own layout.
  void Run();
  static std::string Version();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace lstmd::bench

#endif  // LSTMD_TESTS_BENCH_ONEDNN_LSTM_H_
