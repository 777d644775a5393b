# SPDX-License-Identifier: Apache-2.0
# The cuDNN backend, where CUDA is found (tests/cmake/Cuda.cmake). Targets:
#   lstmd_cudnn_core   everything but the binding to the real libraries; needs their headers only
#   lstmd_cudnn_real   that binding and the kernels
#   lstmd_cudnn        the plug-in liblstmd_cudnn.so
if(NOT LSTMD_HAVE_CUDNN)
  return()
endif()

add_library(lstmd_cudnn_core STATIC
  cudnn/batch_plan.cc cudnn/cudnn_backend.cc cudnn/descriptors.cc cudnn/device.cc cudnn/device_weights.cc cudnn/gemm.cc
  cudnn/rnn_path.cc cudnn/runner.cc cudnn/state_pool.cc cudnn/upload.cc)
target_include_directories(lstmd_cudnn_core SYSTEM PUBLIC ${CUDAToolkit_INCLUDE_DIRS} ${CUDNN_INCLUDE})
target_link_libraries(lstmd_cudnn_core PUBLIC lstmd_model_files)

if(NOT LSTMD_SANITIZE)
  add_library(lstmd_cudnn_real OBJECT cudnn/real_api.cc cudnn/kernels.cu)
  target_include_directories(lstmd_cudnn_real PRIVATE ${PROJECT_SOURCE_DIR})
  target_link_libraries(lstmd_cudnn_real PUBLIC CUDA::cudart CUDA::cublasLt ${CUDNN_LIBRARY})
  target_include_directories(lstmd_cudnn_real SYSTEM PUBLIC ${CUDNN_INCLUDE})

  add_library(lstmd_cudnn MODULE cudnn/plugin.cc)
  target_compile_definitions(lstmd_cudnn PRIVATE LSTMD_DEVICE_API=RealApi
    LSTMD_DEVICE_API_HEADER="engine/cudnn/device_api.h")
  target_link_libraries(lstmd_cudnn PRIVATE lstmd_cudnn_core lstmd_cudnn_real)
  set_target_properties(lstmd_cudnn PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib/lstmd)
endif()
