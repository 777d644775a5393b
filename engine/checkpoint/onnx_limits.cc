// SPDX-License-Identifier: Apache-2.0
#include "engine/checkpoint/onnx_limits.h"

#include <cstddef>

#include "google/protobuf/io/coded_stream.h"

namespace lstmd::onnx {
namespace {

using google::protobuf::io::CodedInputStream;

constexpr uint32_t kVarint = 0;
constexpr uint32_t kFixed64 = 1;
constexpr uint32_t kBytes = 2;
constexpr uint32_t kFixed32 = 5;
// As deep as protobuf's own parser goes.
constexpr int kDeepest = 100;

enum class Kind { kModel, kGraph, kNode, kAttribute, kTensor, kInfo, kType, kTensorType, kShape, kLeaf };

// Fields of onnx.proto that take memory of their own, and what is in them.
struct Field {
  Kind in;
  uint32_t number;
  Kind kind;
};
constexpr Field kFields[] = {
    {Kind::kModel, 7, Kind::kGraph},      {Kind::kModel, 8, Kind::kLeaf},      {Kind::kGraph, 1, Kind::kNode},
    {Kind::kGraph, 5, Kind::kTensor},     {Kind::kGraph, 11, Kind::kInfo},     {Kind::kGraph, 12, Kind::kInfo},
    {Kind::kNode, 1, Kind::kLeaf},        {Kind::kNode, 2, Kind::kLeaf},       {Kind::kNode, 5, Kind::kAttribute},
    {Kind::kAttribute, 5, Kind::kTensor}, {Kind::kAttribute, 6, Kind::kGraph}, {Kind::kAttribute, 9, Kind::kLeaf},
    {Kind::kTensor, 13, Kind::kLeaf},     {Kind::kInfo, 2, Kind::kType},       {Kind::kType, 1, Kind::kTensorType},
    {Kind::kTensorType, 2, Kind::kShape}, {Kind::kShape, 1, Kind::kLeaf},
};

const Field* Find(Kind in, uint32_t number) {
  for (const Field& field : kFields) {
    if (field.in == in && field.number == number) return &field;
  }
  return nullptr;
}

// Takes the items in a message off *budget; false when it is spent.
bool Count(Kind kind, const char* data, size_t size, int depth, int64_t* budget) {
  CodedInputStream stream(reinterpret_cast<const uint8_t*>(data), static_cast<int>(size));
  while (const uint32_t tag = stream.ReadTag()) {
    uint64_t varint = 0;
    uint32_t length = 0;
    bool read = false;
    switch (tag & 7) {
      case kVarint:
        read = stream.ReadVarint64(&varint);
        break;
      case kFixed64:
        read = stream.Skip(8);
        break;
      case kFixed32:
        read = stream.Skip(4);
        break;
      case kBytes: {
        read = stream.ReadVarint32(&length);
        const auto start = static_cast<size_t>(stream.CurrentPosition());
        if (!read || length > size - start) return true;
        const Field* field = Find(kind, tag >> 3);
        if (field != nullptr) {
          if (--*budget < 0) return false;
          if (field->kind != Kind::kLeaf && depth < kDeepest &&
              !Count(field->kind, data + start, length, depth + 1, budget)) {
            return false;
          }
        }
        read = stream.Skip(static_cast<int>(length));
        break;
      }
      default:
        break;
    }
    if (!read) return true;
  }
  return true;
}

}  // namespace

bool IsModest(std::string_view bytes) {
  int64_t budget = kMostItems;
  return Count(Kind::kModel, bytes.data(), bytes.size(), 0, &budget);
}

}  // namespace lstmd::onnx
