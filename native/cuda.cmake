# The CUDA library (lumigrad_cuda) and the emulation of it that tests use.
#
#   LUMIGRAD_CUDA                AUTO: where this machine has a GPU and an nvcc. ON: or fail. OFF.
#   LUMIGRAD_CUDA_ARCHITECTURES  as CMAKE_CUDA_ARCHITECTURES; AUTO: machine code for the GPUs of this machine, where it
#                                has any, or else for all that are in use; and PTX for what comes later
#   LUMIGRAD_CUDA_EMULATION      also build lumigrad_cuda_emulated: the same kernels for a processor, for tests
#
# The first two are also environment variables (options.cmake).
lumigrad_option_from_environment(LUMIGRAD_CUDA "Build the CUDA library: AUTO, ON or OFF")
lumigrad_option_from_environment(LUMIGRAD_CUDA_ARCHITECTURES "GPU architectures of the CUDA library, or AUTO")
set_property(CACHE LUMIGRAD_CUDA PROPERTY STRINGS AUTO ON OFF)
option(LUMIGRAD_CUDA_EMULATION "Build the CUDA kernels for a processor, for tests" OFF)

# Relative to native/, as the emulation includes them.
file(GLOB LUMIGRAD_CUDA_SOURCES CONFIGURE_DEPENDS RELATIVE ${CMAKE_CURRENT_SOURCE_DIR}/native native/*/*_cuda.cu)
list(APPEND LUMIGRAD_CUDA_SOURCES runtime/cuda/core_cuda.cu runtime/cuda/algorithms_cuda.cu)
# With fused multiply-add. All others are without it, so that what hangs on a rounding comes out as on the CPU: which
# pixels a triangle covers, what is clamped at its edges, which edge is an outline, between which texels a lookup lies,
# which faces are in reach, which splat is in front, where surfaces meet.
set(LUMIGRAD_CUDA_FUSED_SOURCES
  runtime/cuda/core_cuda.cu
  runtime/cuda/algorithms_cuda.cu
  surface/edge_topology_cuda.cu
  texture/mips_cuda.cu
  splat/forward_cuda.cu
  splat/backward_cuda.cu
)

# The compute capabilities of this machine's GPUs, as 80, 90; empty where there is none.
function(lumigrad_find_gpus result)
  set(gpus "")
  find_program(LUMIGRAD_NVIDIA_SMI nvidia-smi)
  mark_as_advanced(LUMIGRAD_NVIDIA_SMI)
  if(LUMIGRAD_NVIDIA_SMI)
    execute_process(COMMAND ${LUMIGRAD_NVIDIA_SMI} --query-gpu=compute_cap --format=csv,noheader
      OUTPUT_VARIABLE answer ERROR_QUIET TIMEOUT 20)
    string(REGEX MATCHALL "[0-9]+[.][0-9]+" gpus "${answer}")
    list(TRANSFORM gpus REPLACE "[.]" "")
    list(REMOVE_DUPLICATES gpus)
  endif()
  set(${result} "${gpus}" PARENT_SCOPE)
endfunction()

# The architectures that AUTO stands for. Whoever installs on a machine with a GPU need not wait for the code of all
# others.
function(lumigrad_choose_cuda_architectures result gpus)
  set(known 75 80 86 89 90)
  if(CMAKE_CUDA_COMPILER_VERSION VERSION_GREATER_EQUAL 12.8)
    list(APPEND known 100 120)
  endif()
  set(others ${gpus})
  list(REMOVE_ITEM others ${known})
  if(NOT gpus OR others)
    set(gpus ${known})
  endif()
  list(TRANSFORM gpus APPEND "-real")
  set(${result} ${gpus} 90-virtual PARENT_SCOPE)
endfunction()

function(lumigrad_add_cuda)
  set(exact_sources ${LUMIGRAD_CUDA_SOURCES})
  list(REMOVE_ITEM exact_sources ${LUMIGRAD_CUDA_FUSED_SOURCES})
  list(TRANSFORM LUMIGRAD_CUDA_SOURCES PREPEND native/)
  list(TRANSFORM exact_sources PREPEND native/)
  add_library(lumigrad_cuda SHARED ${LUMIGRAD_CUDA_SOURCES})
  set_source_files_properties(${exact_sources} PROPERTIES COMPILE_OPTIONS --fmad=false)
  set_target_properties(lumigrad_cuda PROPERTIES CUDA_RUNTIME_LIBRARY Static CUDA_STANDARD 17
    CUDA_STANDARD_REQUIRED ON CUDA_VISIBILITY_PRESET hidden)
  target_include_directories(lumigrad_cuda PRIVATE native native/include)
  # Constants of the standard library (numeric_limits) are used on the device. Machine code takes a third of the space
  # compressed; the driver unpacks it when it is loaded.
  target_compile_options(lumigrad_cuda PRIVATE --expt-relaxed-constexpr -Xfatbin=-compress-all)
  if(MSVC)
    target_compile_options(lumigrad_cuda PRIVATE -Xcompiler=/W3)
  else()
    target_compile_options(lumigrad_cuda PRIVATE -Xcompiler=-Wall,-Wextra,-Wno-unknown-pragmas)
    if(LUMIGRAD_WARNINGS_AS_ERRORS)
      target_compile_options(lumigrad_cuda PRIVATE --Werror=all-warnings -Xcompiler=-Werror)
    endif()
  endif()
  lumigrad_link_for_all_systems(lumigrad_cuda)
  install(TARGETS lumigrad_cuda LIBRARY DESTINATION lumigrad/_native RUNTIME DESTINATION lumigrad/_native)
endfunction()

function(lumigrad_add_cuda_emulation)
  set(sources native/tests/cuda_emulation/emulation.cpp native/tests/cuda_emulation/moves.cpp)
  foreach(source IN LISTS LUMIGRAD_CUDA_SOURCES)
    string(REGEX REPLACE "[^a-z_]" "_" name "${source}")
    set(wrapper ${CMAKE_CURRENT_BINARY_DIR}/emulated/${name}.cpp)
    file(GENERATE OUTPUT ${wrapper} CONTENT "#include \"${source}\"\n")
    list(APPEND sources ${wrapper})
  endforeach()
  # A module of its own for tests: not installed, and not built unless asked for.
  add_library(lumigrad_cuda_emulated SHARED ${sources})
  target_include_directories(lumigrad_cuda_emulated PRIVATE native native/include)
  target_compile_definitions(lumigrad_cuda_emulated PRIVATE LG_CUDA_EMULATED)
  # Kernels keep numbers of several types in one place, which C++ frowns upon and CUDA allows.
  target_compile_options(lumigrad_cuda_emulated PRIVATE -g1 -ffp-contract=off -fno-strict-aliasing -Wall -Wextra
    -Wno-unknown-pragmas ${LUMIGRAD_SAFE_ADDRESSES})
  if(LUMIGRAD_WARNINGS_AS_ERRORS)
    target_compile_options(lumigrad_cuda_emulated PRIVATE -Werror)
  endif()
  if(LUMIGRAD_SANITIZE)
    target_compile_options(lumigrad_cuda_emulated PRIVATE -Og -fsanitize=address,undefined -fno-sanitize-recover=all)
    target_link_options(lumigrad_cuda_emulated PRIVATE -fsanitize=address,undefined)
  else()
    target_compile_options(lumigrad_cuda_emulated PRIVATE -O2)
  endif()
endfunction()

set(how "LUMIGRAD_CUDA=ON builds it, OFF leaves it out: an environment variable or a CMake option")
if(LUMIGRAD_CUDA)
  lumigrad_find_gpus(gpus)
endif()
if(NOT LUMIGRAD_CUDA)
  message(STATUS "lumigrad: the CUDA library is not built: LUMIGRAD_CUDA=${LUMIGRAD_CUDA}")
elseif(LUMIGRAD_CUDA STREQUAL "AUTO" AND NOT gpus)
  message(STATUS "lumigrad: the CUDA library is not built: nvidia-smi lists no GPU. ${how}")
else()
  # Languages can only be enabled outside of functions.
  include(CheckLanguage)
  check_language(CUDA)
  if(CMAKE_CUDA_COMPILER)
    set(CMAKE_CUDA_ARCHITECTURES 90-virtual)  # for CMake's own look at the compiler
    enable_language(CUDA)
    set(CMAKE_CUDA_ARCHITECTURES ${LUMIGRAD_CUDA_ARCHITECTURES})
    if(LUMIGRAD_CUDA_ARCHITECTURES STREQUAL "AUTO")
      lumigrad_choose_cuda_architectures(CMAKE_CUDA_ARCHITECTURES "${gpus}")
    endif()
    if(CMAKE_CUDA_COMPILER_VERSION VERSION_GREATER_EQUAL 12.0)
      message(STATUS "lumigrad: the CUDA library is built, by nvcc ${CMAKE_CUDA_COMPILER_VERSION} for "
        "${CMAKE_CUDA_ARCHITECTURES}. ${how}; LUMIGRAD_CUDA_ARCHITECTURES=... chooses GPUs")
      lumigrad_add_cuda()
    endif()
  endif()
  if(NOT TARGET lumigrad_cuda)
    set(reason "no nvcc of version 12.0 or newer was found; put it into PATH or set CUDACXX")
    if(NOT LUMIGRAD_CUDA STREQUAL "AUTO")
      message(FATAL_ERROR "lumigrad: LUMIGRAD_CUDA=${LUMIGRAD_CUDA}, but ${reason}")
    endif()
    message(STATUS "lumigrad: the CUDA library is not built: ${reason}. CUDA tensors will use the slow reference.")
  endif()
endif()

if(LUMIGRAD_CUDA_EMULATION)
  lumigrad_add_cuda_emulation()
endif()
