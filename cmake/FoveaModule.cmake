# One static library a module (floor): fovea_module(<name> DEPENDS <lower modules and packages>).
# Sources are src/<name>/*.cpp, public headers include/fovea/<name>/*.hpp; a new file needs no edit here.
add_library(fovea_flags INTERFACE)
target_compile_options(fovea_flags INTERFACE
  -ffp-contract=off -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wnon-virtual-dtor $<$<BOOL:${FOVEA_WERROR}>:-Werror>)
if(FOVEA_SANITIZE)
  target_compile_options(fovea_flags INTERFACE -fsanitize=${FOVEA_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  target_link_options(fovea_flags INTERFACE -fsanitize=${FOVEA_SANITIZE})
  # With -fsanitize g++ 12 calls members of std::regex uninitialised that are not (its own header, gcc bug 105562).
  target_compile_options(fovea_flags INTERFACE $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>)
endif()

set_property(GLOBAL PROPERTY FOVEA_MODULES "")

function(fovea_module name)
  cmake_parse_arguments(M "" "" "DEPENDS;PRIVATE" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/src/${name}/*.cpp")
  if(NOT sources)
    return()
  endif()
  add_library(fovea_${name} STATIC ${sources})
  add_library(fovea::${name} ALIAS fovea_${name})
  set_target_properties(fovea_${name} PROPERTIES EXPORT_NAME ${name})
  target_compile_features(fovea_${name} PUBLIC cxx_std_20)
  target_include_directories(fovea_${name} PUBLIC
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>
    PRIVATE "${PROJECT_SOURCE_DIR}/src")
  foreach(dependency IN LISTS M_DEPENDS)
    if(TARGET ${dependency})
      target_link_libraries(fovea_${name} PUBLIC ${dependency})
    endif()
  endforeach()
  target_link_libraries(fovea_${name} PRIVATE $<BUILD_INTERFACE:fovea_flags> ${M_PRIVATE})
  set_property(GLOBAL APPEND PROPERTY FOVEA_MODULES fovea_${name})
endfunction()
