# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
#
# For ROS 2 from PyPI wheels only, passed by setup.py as CMAKE_PROJECT_INCLUDE: what has to be mended
# in the include folders of targets, once all packages are found.
#
# * Imported targets name the Python include folder of the machine that built the wheels.
# * The targets to be exported must not name folders of this source tree, where .venv may be.

function(mend_include_folders target pattern replacement)
  get_target_property(folders ${target} INTERFACE_INCLUDE_DIRECTORIES)
  if(folders)
    list(TRANSFORM folders REPLACE "${pattern}" "${replacement}")
    set_target_properties(${target} PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${folders}")
  endif()
endfunction()

function(mend_all_include_folders)
  get_property(imported DIRECTORY PROPERTY IMPORTED_TARGETS)
  foreach(target IN LISTS imported)
    mend_include_folders(${target} "^/opt/python/.*" "${Python3_INCLUDE_DIRS}")
  endforeach()
  get_property(built DIRECTORY PROPERTY BUILDSYSTEM_TARGETS)
  foreach(target IN LISTS built)
    mend_include_folders(${target} "^(${CMAKE_SOURCE_DIR}/.*)" "$<BUILD_INTERFACE:\\1>")
  endforeach()
endfunction()

cmake_language(DEFER CALL mend_all_include_folders)
