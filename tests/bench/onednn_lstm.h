// SPDX-License-Identifier: Apache-2.0
//
// The peer in the same process: oneDNN's LSTM primitive, one layer, f32, I = H.
#ifndef LSTMD_TESTS_BENCH_ONEDNN_LSTM_H_
#define LSTMD_TESTS_BENCH_ONEDNN_LSTM_H_

#include <memory>
#include <string>

namespace lstmd::bench {

class OneDnnLstm {
 public:
  OneDnnLstm(int steps, int batch, int hidden);
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
