// SPDX-License-Identifier: Apache-2.0
//
// What is measured: sessions of one model on the CPU backend, one layer, I = H, without the scheduler.
#ifndef LSTMD_TESTS_BENCH_ENGINE_LSTM_H_
#define LSTMD_TESTS_BENCH_ENGINE_LSTM_H_

#include <memory>
#include <vector>

#include "engine/backend.h"

namespace lstmd::bench {

class EngineLstm {
 public:
  // `backend` outlives this.
  EngineLstm(Backend& backend, int steps, int batch, int hidden, Precision precision);

  // All steps of the batch.
  void Run();

 private:
  Backend& backend_;
  std::unique_ptr<DeviceModel> model_;
  std::unique_ptr<StatePool> pool_;
  std::vector<float> input_, output_;
  std::vector<Row> rows_;
  std::vector<Row*> pointers_;
};

}  // namespace lstmd::bench

#endif  // LSTMD_TESTS_BENCH_ENGINE_LSTM_H_
