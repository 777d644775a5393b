# SPDX-License-Identifier: Apache-2.0
# LSTMD_CUDNN: AUTO builds the cuDNN backend where CUDA (12.4 or newer) and cuDNN 9 are found, ON insists, OFF leaves it
# out. Sets LSTMD_HAVE_CUDNN.
set(LSTMD_CUDNN AUTO CACHE STRING "Build the cuDNN backend: AUTO, ON or OFF")
set(LSTMD_HAVE_CUDNN OFF)
if(NOT LSTMD_CUDNN STREQUAL OFF)
  find_package(CUDAToolkit 12.4 QUIET)
  find_path(CUDNN_INCLUDE cudnn.h HINTS ${CUDAToolkit_INCLUDE_DIRS})
  find_library(CUDNN_LIBRARY cudnn HINTS ${CUDAToolkit_LIBRARY_DIR})
  if(CUDAToolkit_FOUND AND CUDNN_INCLUDE AND CUDNN_LIBRARY)
    set(LSTMD_HAVE_CUDNN ON)
    message(STATUS "cuDNN backend: CUDA ${CUDAToolkit_VERSION}, ${CUDNN_LIBRARY}")
    # Sanitizers watch the emulation on the host; nvcc does not know them.
    if(NOT LSTMD_SANITIZE)
      set(CMAKE_CUDA_ARCHITECTURES 80-real 90-real 100)
      set(CMAKE_CUDA_STANDARD 17)
      enable_language(CUDA)
    endif()
  elseif(LSTMD_CUDNN STREQUAL ON)
    message(FATAL_ERROR "LSTMD_CUDNN=ON, but CUDA 12.4 or newer with cuDNN 9 is not here")
  else()
    message(STATUS "cuDNN backend: left out (no CUDA 12.4 or newer with cuDNN 9)")
  endif()
endif()
