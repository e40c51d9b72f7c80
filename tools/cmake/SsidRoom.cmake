# ssid_room(NAME base SOURCES a.cc b.cc TESTS a_test.cc LINKS ...)
#   makes the static library ssid_<NAME> and, if there are TESTS, the test program <NAME>_tests, which
#   ctest runs as <NAME>. Test files are compiled into the program itself (doctest registers statically).
function(ssid_room)
  cmake_parse_arguments(R "" "NAME" "SOURCES;TESTS;LINKS;TEST_LINKS" ${ARGN})
  if(R_SOURCES)
    add_library(ssid_${R_NAME} STATIC ${R_SOURCES})
    target_link_libraries(ssid_${R_NAME} PUBLIC ${R_LINKS} Threads::Threads)
  else()
    add_library(ssid_${R_NAME} INTERFACE)
    target_link_libraries(ssid_${R_NAME} INTERFACE ${R_LINKS} Threads::Threads)
  endif()
  if(R_TESTS)
    add_executable(${R_NAME}_tests ${CMAKE_SOURCE_DIR}/tests/doctest_main.cc ${R_TESTS})
    target_link_libraries(${R_NAME}_tests PRIVATE ssid_${R_NAME} ${R_TEST_LINKS})
    add_test(NAME ${R_NAME} COMMAND ${R_NAME}_tests)
  endif()
endfunction()

# ssid_program(ssid-view SOURCES main.cc LINKS ...): an executable in build/<preset>/bin.
function(ssid_program NAME)
  cmake_parse_arguments(P "" "" "SOURCES;LINKS" ${ARGN})
  add_executable(${NAME} ${P_SOURCES})
  target_link_libraries(${NAME} PRIVATE ${P_LINKS} Threads::Threads)
endfunction()

# ssid_flatbuffers(TARGET schema.fbs ...): generated headers in <binary dir>/<room>/<name>_generated.h.
function(ssid_flatbuffers TARGET)
  find_program(FLATC flatc REQUIRED)
  set(outputs)
  file(RELATIVE_PATH room ${CMAKE_SOURCE_DIR} ${CMAKE_CURRENT_SOURCE_DIR})
  foreach(schema IN LISTS ARGN)
    get_filename_component(stem ${schema} NAME_WE)
    get_filename_component(sub ${schema} DIRECTORY)
    set(dir ${CMAKE_BINARY_DIR}/${room}/${sub})
    set(out ${dir}/${stem}_generated.h)
    add_custom_command(OUTPUT ${out}
      COMMAND ${FLATC} --cpp --scoped-enums --gen-mutable -o ${dir} ${CMAKE_CURRENT_SOURCE_DIR}/${schema}
      DEPENDS ${schema} VERBATIM)
    list(APPEND outputs ${out})
  endforeach()
  add_custom_target(${TARGET} DEPENDS ${outputs})
endfunction()

# Install rules come when every room's targets are known.
include(SsidInstall)
cmake_language(DEFER DIRECTORY ${CMAKE_SOURCE_DIR} CALL ssid_install_rules)
