# Precompiled headers for what is parsed a hundred times and never written here: GoogleTest before every test, CLI11
# before every command. They would hide a missing include, so the builds that look for mistakes do without them:
# debug, coverage, the sanitizers and what `make lint` gives to clang-tidy.
set(fovea_pch ON)
if(NOT CMAKE_BUILD_TYPE STREQUAL "Release" OR FOVEA_SANITIZE OR NOT CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  set(fovea_pch OFF)
endif()
option(FOVEA_PCH "Precompile the headers of GoogleTest and CLI11" ${fovea_pch})

# fovea_precompile(<target> HEADERS <...>): headers that this target's own sources share.
# fovea_precompile(<target> FROM <other>): those of another target, which has the same options and definitions.
function(fovea_precompile target)
  cmake_parse_arguments(P "" "FROM" "HEADERS" ${ARGN})
  if(NOT FOVEA_PCH)
    return()
  endif()
  if(P_FROM)
    target_precompile_headers(${target} REUSE_FROM ${P_FROM})
  else()
    target_precompile_headers(${target} PRIVATE ${P_HEADERS})
  endif()
  # ccache keeps such objects only when told not to mind what it cannot see inside a precompiled file: macros, dates.
  if(FOVEA_CCACHE AND CMAKE_CXX_COMPILER_LAUNCHER STREQUAL FOVEA_CCACHE)
    set_target_properties(${target} PROPERTIES CXX_COMPILER_LAUNCHER
      "${CMAKE_COMMAND};-E;env;CCACHE_SLOPPINESS=pch_defines,time_macros;${FOVEA_CCACHE}")
  endif()
endfunction()
