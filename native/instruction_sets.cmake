# The instruction sets to build libraries for, in LUMIGRAD_CORES, of those that there can be, LUMIGRAD_KNOWN_ISAS.
#
#   LUMIGRAD_ISAS   AUTO: the best that this machine runs. ALL: for every machine of this architecture, as a wheel for
#                   others needs. Or a list: portable;avx2
#
# It is also an environment variable (options.cmake).
lumigrad_option_from_environment(LUMIGRAD_ISAS "Instruction sets to build for: AUTO, ALL or a list")

set(LUMIGRAD_KNOWN_ISAS portable)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$" AND NOT CMAKE_OSX_ARCHITECTURES MATCHES "arm64")
  list(APPEND LUMIGRAD_KNOWN_ISAS avx2 avx512)
endif()

# What this machine runs; empty where that cannot be found out.
function(lumigrad_find_best_isa result)
  set(best "")
  if(NOT CMAKE_CROSSCOMPILING)
    try_run(ran compiled ${CMAKE_CURRENT_BINARY_DIR}/best_isa
      ${CMAKE_CURRENT_SOURCE_DIR}/native/runtime/print_best_isa.cpp
      CMAKE_FLAGS -DINCLUDE_DIRECTORIES=${CMAKE_CURRENT_SOURCE_DIR}/native RUN_OUTPUT_VARIABLE answer)
    if(compiled AND ran EQUAL 0)
      string(STRIP "${answer}" best)
    endif()
  endif()
  set(${result} "${best}" PARENT_SCOPE)
endfunction()

set(LUMIGRAD_CORES ${LUMIGRAD_KNOWN_ISAS})
if(LUMIGRAD_ISAS STREQUAL "AUTO")
  lumigrad_find_best_isa(best)
  if(best)
    set(LUMIGRAD_CORES ${best})
  endif()
elseif(NOT LUMIGRAD_ISAS STREQUAL "ALL")
  foreach(isa IN LISTS LUMIGRAD_ISAS)
    if(NOT isa IN_LIST LUMIGRAD_KNOWN_ISAS)
      message(FATAL_ERROR "lumigrad: LUMIGRAD_ISAS=${LUMIGRAD_ISAS}: expected AUTO, ALL, or some of ${LUMIGRAD_KNOWN_ISAS}")
    endif()
  endforeach()
  set(LUMIGRAD_CORES ${LUMIGRAD_ISAS})
  list(REMOVE_DUPLICATES LUMIGRAD_CORES)
endif()
message(STATUS "lumigrad: the core is built for ${LUMIGRAD_CORES}. LUMIGRAD_ISAS=ALL builds for every machine")
