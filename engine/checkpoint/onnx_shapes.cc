// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "engine/checkpoint/onnx_call.h"

namespace lstmd::onnx {

Result Cast(const Call& call) {
  const absl::StatusOr<int64_t> to = call.attributes.IntOr("to", 0);
  if (!to.ok()) return to.status();
  const auto type = static_cast<int32_t>(std::clamp<int64_t>(*to, 0, INT32_MAX));
  const Value& data = call.Data();
  if (!IsFloat(type) && !IsInt(type)) return call.Refuse(absl::StrCat("casts to ", TypeName(type)));
  // Among floats, and lengths among integers: values stay, all computing is in f32.
  if (!data.is_constant() || IsFloat(type) == (data.source == Source::kFloats)) {
    if (!data.is_constant() && data.source != Source::kInput && !IsFloat(type)) {
      return call.Refuse(absl::StrCat("casts data to ", TypeName(type)));
    }
    if (data.source == Source::kInts && type != TensorProto::INT64 && type != TensorProto::INT32) {
      return call.Refuse(absl::StrCat("casts to ", TypeName(type)));
    }
    return Same(call);
  }
  if (data.source == Source::kFloats) return call.Refuse(absl::StrCat("casts a float constant to ", TypeName(type)));
  const absl::StatusOr<std::vector<int64_t>> ints = ReadInts(data);
  if (!ints.ok()) return ints.status();
  Tensor tensor{Dims(data.view), std::make_shared<const std::vector<float>>(ints->begin(), ints->end())};
  return std::vector<Value>{FromTensor(tensor)};
}

Result Shape(const Call& call) {
  const absl::StatusOr<int64_t> start = call.attributes.IntOr("start", 0);
  const absl::StatusOr<int64_t> end = call.attributes.IntOr("end", INT64_MAX);
  if (!start.ok()) return start.status();
  if (!end.ok()) return end.status();
  const auto rank = static_cast<int64_t>(call.Rank());
  const auto clip = [rank](int64_t i) { return std::clamp<int64_t>(i < 0 ? std::max(i, -rank) + rank : i, 0, rank); };
  const std::vector<int64_t> dims = Dims(call.Data().view);
  std::vector<int64_t> part;
  for (int64_t a = clip(*start); a < clip(*end); ++a) part.push_back(dims[static_cast<size_t>(a)]);
  return std::vector<Value>{FromInts(std::move(part))};
}

Result Constant(const Call& call) {
  const absl::StatusOr<const TensorProto*> tensor = call.attributes.Tensor("value");
  const auto one_int = call.attributes.Int("value_int");
  const auto ints = call.attributes.Ints("value_ints");
  const auto one_float = call.attributes.Float("value_float");
  const auto floats = call.attributes.Floats("value_floats");
  for (const absl::Status& status :
       {tensor.status(), one_int.status(), ints.status(), one_float.status(), floats.status()}) {
    if (!status.ok()) return status;
  }
  if (*tensor != nullptr) {
    const absl::StatusOr<Tensor> decoded = Decode(**tensor, call.context.folder);
    if (!decoded.ok()) return call.Refuse(decoded.status().message());
    return std::vector<Value>{FromTensor(*decoded)};
  }
  if (*ints) return std::vector<Value>{FromInts(**ints)};
  if (*one_int) return std::vector<Value>{FromTensor({{}, std::make_shared<const std::vector<int64_t>>(1, **one_int)})};
  if (*one_float)
    return std::vector<Value>{FromTensor({{}, std::make_shared<const std::vector<float>>(1, **one_float)})};
  if (*floats) {
    return std::vector<Value>{
        FromTensor({{static_cast<int64_t>((*floats)->size())}, std::make_shared<const std::vector<float>>(**floats)})};
  }
  return call.Refuse("is no dense constant of numbers");
}

Result ConstantOfShape(const Call& call) {
  const auto dims = call.List("", 0);
  if (!dims.ok()) return dims.status();
  if (!*dims || !ElementsOf(**dims)) return call.Refuse("its shape is impossible");
  const absl::StatusOr<const TensorProto*> tensor = call.attributes.Tensor("value");
  if (!tensor.ok()) return tensor.status();
  Tensor one{{1}, std::make_shared<const std::vector<float>>(1, 0.0f)};
  if (*tensor != nullptr) {
    absl::StatusOr<Tensor> decoded = Decode(**tensor, call.context.folder);
    if (!decoded.ok()) return call.Refuse(decoded.status().message());
    one = *std::move(decoded);
    if (ElementsOf(one.dims) != 1) return call.Refuse("its value is no single number");
  }
  Value value = FromTensor(one);
  value.view.axes.clear();
  for (const int64_t dim : **dims) value.view.axes.push_back({{dim, 0}});
  return std::vector<Value>{std::move(value)};
}

// +, -, * and / of shapes: equally long lists, or one of them a single number.
Result Arithmetic(const Call& call) {
  if (call.inputs.size() != 2 || !call.Has(1)) return call.Refuse("wants two inputs");
  const Value& a = *call.inputs[0];
  const Value& b = *call.inputs[1];
  if (a.source != Source::kInts || b.source != Source::kInts) return call.Refuse("computes with data");
  const absl::StatusOr<std::vector<int64_t>> left = ReadInts(a);
  const absl::StatusOr<std::vector<int64_t>> right = ReadInts(b);
  if (!left.ok() || !right.ok()) return call.Refuse("computes with more than shapes");
  const bool left_is_one = left->size() == 1 && right->size() != 1;
  const bool right_is_one = right->size() == 1 && left->size() != 1;
  if (left->size() != right->size() && !left_is_one && !right_is_one) return call.Refuse("its inputs differ in shape");
  const Value& larger = left_is_one || a.view.axes.size() < b.view.axes.size() ? b : a;
  std::vector<int64_t> result(std::max(left->size(), right->size()));
  if (left->empty() || right->empty()) return call.Refuse("computes with nothing");
  for (size_t k = 0; k < result.size(); ++k) {
    const int64_t x = (*left)[left_is_one ? 0 : k];
    const int64_t y = (*right)[right_is_one ? 0 : k];
    bool bad = false;
    if (call.node.op_type() == "Add") bad = __builtin_add_overflow(x, y, &result[k]);
    if (call.node.op_type() == "Sub") bad = __builtin_sub_overflow(x, y, &result[k]);
    if (call.node.op_type() == "Mul") bad = __builtin_mul_overflow(x, y, &result[k]);
    if (call.node.op_type() == "Div") {
      bad = y == 0 || (y == -1 && x == INT64_MIN);
      if (!bad) result[k] = x / y;
    }
    if (bad) return call.Refuse("overflows");
  }
  return std::vector<Value>{
      FromTensor({Dims(larger.view), std::make_shared<const std::vector<int64_t>>(std::move(result))})};
}

Value FromTensor(const Tensor& tensor) {
  Value value;
  value.view = Contiguous(tensor.dims);
  if (const auto* floats = std::get_if<Floats>(&tensor.values)) {
    value.source = Source::kFloats;
    value.floats = *floats;
  } else {
    value.ints = std::get<Ints>(tensor.values);
  }
  return value;
}

Value FromInts(std::vector<int64_t> values) {
  const auto count = static_cast<int64_t>(values.size());
  return FromTensor({{count}, std::make_shared<const std::vector<int64_t>>(std::move(values))});
}

absl::StatusOr<std::vector<int64_t>> ReadInts(const Value& value, int64_t most) {
  if (value.source != Source::kInts) return FileError("got data, want constant integers");
  if (Elements(value.view) > most) return FileError(absl::StrCat("got ", Elements(value.view), " integers"));
  std::vector<int64_t> result;
  ForEach(value.view, [&](int64_t index) { result.push_back((*value.ints)[static_cast<size_t>(index)]); });
  return result;
}

absl::StatusOr<std::vector<float>> ReadFloats(const Value& value, int64_t most) {
  if (value.source != Source::kFloats) return FileError("got data, want constant floats");
  if (Elements(value.view) > most) {
    return FileError(absl::StrCat("got ", Elements(value.view), " floats, more than the file holds"));
  }
  std::vector<float> result;
  result.reserve(static_cast<size_t>(Elements(value.view)));
  ForEach(value.view, [&](int64_t index) { result.push_back((*value.floats)[static_cast<size_t>(index)]); });
  return result;
}

}  // namespace lstmd::onnx
