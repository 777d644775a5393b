// SPDX-License-Identifier: Apache-2.0
//
// One good request, spoiled in many ways: each has its code, reason and field path; the session it names keeps its
// state bit for bit, and the others go on.
#ifndef LSTMD_TESTS_INTEGRATION_BAD_INPUT_H_
#define LSTMD_TESTS_INTEGRATION_BAD_INPUT_H_

#include <functional>
#include <string>

#include "tests/integration/server_fixture.h"

namespace lstmd {

template <typename Request>
struct BadCase {
  const char* name;
  std::function<void(Request&)> spoil;
  const char* want;  // as Shown writes it
};

class BadInputTest : public ServerTest {
 protected:
  // On the CPU backend, with the sessions "a" (which the good request names) and "other", both stepped before.
  void Start() {
    StartCpu();
    Create("m", "a");
    Create("m", "other");
    Step(a_, {1, 2, 3}, 1);
    Step(other_, {3, 2, 1});
    before_ = Get(a_, true).state().SerializeAsString();
  }

  void ExpectNothingLost() {
    const v1::Session session = Get(a_, true);
    EXPECT_EQ(session.state().SerializeAsString(), before_);
    EXPECT_EQ(session.last_seq(), 1u);
    EXPECT_EQ(session.steps(), 1u);
    EXPECT_EQ(Step(other_, {0.5f, 0.5f, 0.5f}).size(), 2u);
  }

  const std::string a_ = SessionName("m", "a");
  const std::string other_ = SessionName("m", "other");
  std::string before_;
};

inline void SetShape(v1::Tensor* tensor, const std::vector<int64_t>& shape) {
  tensor->mutable_shape()->Assign(shape.begin(), shape.end());
}

}  // namespace lstmd

#endif  // LSTMD_TESTS_INTEGRATION_BAD_INPUT_H_
