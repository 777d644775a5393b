# SPDX-License-Identifier: Apache-2.0
# The ONNX reader, added to lstmd_model_files. Alone in the engine it uses protobuf: generated for the lite runtime, but
# linked with the full library, which the server has anyway and which must not meet the other one in a process.
set(onnx_dir ${CMAKE_CURRENT_LIST_DIR})
set(onnx_generated ${CMAKE_CURRENT_BINARY_DIR}/onnx)
file(MAKE_DIRECTORY ${onnx_generated}/engine/checkpoint)
add_custom_command(
  OUTPUT ${onnx_generated}/engine/checkpoint/onnx.pb.cc ${onnx_generated}/engine/checkpoint/onnx.pb.h
  COMMAND protobuf::protoc -I ${PROJECT_SOURCE_DIR} --cpp_out=${onnx_generated} engine/checkpoint/onnx.proto
  WORKING_DIRECTORY ${PROJECT_SOURCE_DIR}
  DEPENDS ${onnx_dir}/onnx.proto VERBATIM)
set_source_files_properties(${onnx_generated}/engine/checkpoint/onnx.pb.cc PROPERTIES COMPILE_OPTIONS -w)

target_sources(lstmd_model_files PRIVATE
  ${onnx_generated}/engine/checkpoint/onnx.pb.cc ${onnx_generated}/engine/checkpoint/onnx.pb.h
  checkpoint/onnx.cc
  checkpoint/onnx_dims.cc
  checkpoint/onnx_glue.cc
  checkpoint/onnx_graph.cc
  checkpoint/onnx_head.cc
  checkpoint/onnx_join.cc
  checkpoint/onnx_layout.cc
  checkpoint/onnx_limits.cc
  checkpoint/onnx_lstm.cc
  checkpoint/onnx_shapes.cc
  checkpoint/onnx_stack.cc
  checkpoint/onnx_stack_head.cc
  checkpoint/onnx_stack_lstm.cc
  checkpoint/onnx_tensor.cc
  checkpoint/onnx_values.cc
  checkpoint/onnx_view.cc)
target_include_directories(lstmd_model_files SYSTEM PRIVATE ${onnx_generated})
target_link_libraries(lstmd_model_files PRIVATE protobuf::libprotobuf)
