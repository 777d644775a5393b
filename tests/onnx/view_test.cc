// SPDX-License-Identifier: Apache-2.0
//
// Views against copying: every operator is applied to a view and to an array of indices, on random shapes, and both
// must name the same elements.
#include <algorithm>
#include <numeric>
#include <random>
#include <vector>

#include "engine/checkpoint/onnx_view.h"
#include "gtest/gtest.h"

namespace lstmd::onnx {
namespace {

struct Array {
  std::vector<int64_t> dims;
  std::vector<int64_t> values;
};

Array Iota(std::vector<int64_t> dims) {
  Array array{std::move(dims), {}};
  array.values.resize(static_cast<size_t>(*ElementsOf(array.dims)));
  std::iota(array.values.begin(), array.values.end(), int64_t{0});
  return array;
}

// The element at `index` of each axis.
int64_t At(const Array& array, const std::vector<int64_t>& index) {
  int64_t flat = 0;
  for (size_t a = 0; a < index.size(); ++a) flat = flat * array.dims[a] + index[a];
  return array.values[static_cast<size_t>(flat)];
}

// An array of `dims` whose element at an index is get(index).
template <typename Get>
Array Build(const std::vector<int64_t>& dims, const Get& get) {
  Array array = Iota(dims);
  for (int64_t& value : array.values) {
    std::vector<int64_t> index(dims.size());
    int64_t rest = value;
    for (size_t a = dims.size(); a-- > 0; rest /= dims[a]) index[a] = rest % dims[a];
    value = get(index);
  }
  return array;
}

std::vector<int64_t> Read(const View& view) {
  std::vector<int64_t> values;
  ForEach(view, [&](int64_t index) { values.push_back(index); });
  return values;
}

class ViewTest : public ::testing::Test {
 protected:
  int64_t Random(int64_t least, int64_t most) { return std::uniform_int_distribution<int64_t>(least, most)(random_); }
  std::mt19937 random_{20261123};
};

TEST_F(ViewTest, RandomChainsNameTheSameElementsAsCopies) {
  int reshapes = 0;
  for (int round = 0; round < 2000; ++round) {
    SCOPED_TRACE(round);
    std::vector<int64_t> dims;
    for (int64_t a = Random(1, 4); a > 0; --a) dims.push_back(Random(1, 4));
    Array array = Iota(dims);
    View view = Contiguous(dims);
    for (int step = 0; step < 5; ++step) {
      const auto axis = static_cast<size_t>(Random(0, static_cast<int64_t>(array.dims.size()) - 1));
      const Array before = array;
      if (const int64_t op = Random(0, 3); op == 0) {
        std::vector<int64_t> perm(array.dims.size());
        std::iota(perm.begin(), perm.end(), int64_t{0});
        std::shuffle(perm.begin(), perm.end(), random_);
        std::vector<int64_t> to;
        for (const int64_t p : perm) to.push_back(before.dims[static_cast<size_t>(p)]);
        array = Build(to, [&](const std::vector<int64_t>& index) {
          std::vector<int64_t> from(index.size());
          for (size_t a = 0; a < index.size(); ++a) from[static_cast<size_t>(perm[a])] = index[a];
          return At(before, from);
        });
        view = Transposed(view, perm);
      } else if (op == 1) {
        std::vector<int64_t> to = before.dims;
        if (to.size() > 1 && Random(0, 1) == 0) {  // merge two axes
          const size_t left = std::min(axis, to.size() - 2);
          to[left] *= to[left + 1];
          to.erase(to.begin() + static_cast<std::ptrdiff_t>(left) + 1);
        } else if (to[axis] % 2 == 0) {  // split one
          to[axis] /= 2;
          to.insert(to.begin() + static_cast<std::ptrdiff_t>(axis), 2);
        }
        const std::optional<View> reshaped = Reshaped(view, to);
        if (!reshaped) continue;
        ++reshapes;
        view = *reshaped;
        array.dims = to;
      } else if (op == 2) {
        const int64_t extent = before.dims[axis];
        const int64_t start = Random(0, extent - 1);
        const int64_t stride = Random(0, 1) == 0 ? 1 : -1;
        const int64_t count = Random(1, stride > 0 ? extent - start : start + 1);
        const std::optional<View> sliced = Sliced(view, axis, start, count, stride);
        if (!sliced) continue;
        view = *sliced;
        std::vector<int64_t> to = before.dims;
        to[axis] = count;
        array = Build(to, [&](std::vector<int64_t> index) {
          index[axis] = start + index[axis] * stride;
          return At(before, index);
        });
      } else {
        std::vector<View> parts;
        for (int64_t k = 0; k < before.dims[axis]; ++k) {
          const std::optional<View> part = Sliced(view, axis, k, 1, 1);
          ASSERT_TRUE(part);
          parts.push_back(*part);
        }
        if (const std::optional<View> joined = Concatenated(parts, axis)) view = *joined;
      }
      ASSERT_EQ(Dims(view), array.dims);
      ASSERT_EQ(Read(view), array.values);
    }
  }
  EXPECT_GT(reshapes, 500);
}

TEST_F(ViewTest, ExpandRepeats) {
  const std::optional<View> view = Expanded(Contiguous({2, 1}), std::vector<int64_t>{3, 2, 2});
  ASSERT_TRUE(view);
  EXPECT_EQ(Dims(*view), (std::vector<int64_t>{3, 2, 2}));
  EXPECT_EQ(Read(*view), (std::vector<int64_t>{0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 1, 1}));
  EXPECT_FALSE(Expanded(Contiguous({2, 3}), std::vector<int64_t>{2, 4}));
  EXPECT_FALSE(Expanded(Contiguous({1, 1}), std::vector<int64_t>{kMaxElements, 2}));
}

TEST_F(ViewTest, MergingTransposedAxesKeepsBothAtoms) {
  const View swapped = Transposed(Contiguous({2, 3}), std::vector<int64_t>{1, 0});
  const std::optional<View> merged = Reshaped(swapped, std::vector<int64_t>{6});
  ASSERT_TRUE(merged);
  EXPECT_EQ(Read(*merged), (std::vector<int64_t>{0, 3, 1, 4, 2, 5}));
  EXPECT_EQ(Flatten(*merged), (Axis{{3, 1}, {2, 3}}));
  EXPECT_FALSE(Reshaped(swapped, std::vector<int64_t>{2, 3}));
}

TEST_F(ViewTest, RefusesImpossibleSizes) {
  EXPECT_FALSE(ElementsOf(std::vector<int64_t>{INT64_MAX, 2}));
  EXPECT_FALSE(ElementsOf(std::vector<int64_t>{-1}));
  EXPECT_FALSE(ElementsOf(std::vector<int64_t>(kMaxRank + 1, 1)));
  EXPECT_FALSE(Reshaped(Contiguous({4}), std::vector<int64_t>{5}));
  EXPECT_EQ(ElementsOf(std::vector<int64_t>{INT64_MAX, 0, 2}), std::nullopt);
  EXPECT_EQ(ElementsOf(std::vector<int64_t>{3, 0, 2}), 0);
}

}  // namespace
}  // namespace lstmd::onnx
