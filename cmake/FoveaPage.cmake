# Builds the report page's sources (src/explain/page) into a C++ file, with CMake alone. Included, it declares the
# build step; run with -P (DIRECTORY, OUTPUT, STYLES, SCRIPTS), it is that step.
if(CMAKE_SCRIPT_MODE_FILE)
  # A string literal may hold 64 KiB in portable C++, and g++ is slow on longer ones: pieces of 12,000 characters.
  function(fovea_literal out content)
    set(text "")
    string(LENGTH "${content}" length)
    set(at 0)
    while(at LESS length)
      string(SUBSTRING "${content}" ${at} 12000 piece)
      string(APPEND text "\n    R\"fovea(${piece})fovea\"")
      math(EXPR at "${at} + 12000")
    endwhile()
    set(${out} "${text}" PARENT_SCOPE)
  endfunction()
  function(fovea_concatenate out)
    set(all "")
    foreach(name ${ARGN})
      file(READ "${DIRECTORY}/${name}" content)
      string(APPEND all "${content}")
    endforeach()
    set(${out} "${all}" PARENT_SCOPE)
  endfunction()
  string(REPLACE "," ";" styles "${STYLES}")
  string(REPLACE "," ";" scripts "${SCRIPTS}")
  fovea_concatenate(html page.html)
  fovea_concatenate(style ${styles})
  fovea_concatenate(script ${scripts})
  foreach(part html style script)
    fovea_literal(${part}_literal "${${part}}")
  endforeach()
  file(WRITE "${OUTPUT}" "// Made from src/explain/page by cmake/FoveaPage.cmake.
#include \"explain/page_sources.hpp\"
namespace fovea::explain {
std::string_view page_html() { return ${html_literal}; }
std::string_view page_style() { return ${style_literal}; }
std::string_view page_script() {\n  return ${script_literal}; }
}  // namespace fovea::explain
")
  return()
endif()

# Scripts share one scope and are joined in the order of their names.
file(GLOB page_sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/src/explain/page/*")
set(page_scripts "")
set(page_styles "")
foreach(source IN LISTS page_sources)
  get_filename_component(name "${source}" NAME)
  if(name MATCHES "\\.js$")
    list(APPEND page_scripts ${name})
  elseif(name MATCHES "\\.css$")
    list(APPEND page_styles ${name})
  endif()
endforeach()
string(REPLACE ";" "," page_scripts "${page_scripts}")
string(REPLACE ";" "," page_styles "${page_styles}")
set(page_cpp "${PROJECT_BINARY_DIR}/generated/page_sources.cpp")
add_custom_command(OUTPUT "${page_cpp}"
  COMMAND ${CMAKE_COMMAND} "-DDIRECTORY=${PROJECT_SOURCE_DIR}/src/explain/page" "-DOUTPUT=${page_cpp}"
          "-DSTYLES=${page_styles}" "-DSCRIPTS=${page_scripts}" -P "${PROJECT_SOURCE_DIR}/cmake/FoveaPage.cmake"
  DEPENDS ${page_sources} "${PROJECT_SOURCE_DIR}/cmake/FoveaPage.cmake" VERBATIM)
target_sources(fovea_explain PRIVATE "${page_cpp}")
# The page's scripts are one literal, longer than the standard asks compilers to bear; g++ and clang bear it.
set_source_files_properties("${page_cpp}" PROPERTIES COMPILE_OPTIONS -Wno-overlength-strings)
