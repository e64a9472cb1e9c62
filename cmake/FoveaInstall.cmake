# `make install`: headers, the module libraries, the tool, and a package for find_package(fovea).
include(CMakePackageConfigHelpers)
get_property(modules GLOBAL PROPERTY FOVEA_MODULES)
install(TARGETS ${modules} fovea EXPORT fovea-targets
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY include/fovea DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT fovea-targets NAMESPACE fovea:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/fovea)
configure_package_config_file(cmake/foveaConfig.cmake.in "${PROJECT_BINARY_DIR}/foveaConfig.cmake"
  INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/fovea)
write_basic_package_version_file("${PROJECT_BINARY_DIR}/foveaConfigVersion.cmake" COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/foveaConfig.cmake" "${PROJECT_BINARY_DIR}/foveaConfigVersion.cmake"
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/fovea)
if(TARGET fovea_tool)
  install(TARGETS fovea_tool RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
