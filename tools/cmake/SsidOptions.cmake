# Compiler warnings, sanitizers and the packages that rooms link to.
set(SSID_SANITIZE "" CACHE STRING "value for -fsanitize=, empty for none")
# Backtraces have their lines with -g1; all of -g takes a third more time to compile.
set(SSID_DEBUG_INFO "-g1" CACHE STRING "debug information; -g for work in a debugger")

add_compile_options(-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror=return-type
                    -fstack-protector-strong -fno-omit-frame-pointer)
add_compile_options(${SSID_DEBUG_INFO})  # after the build type's -g: the last one counts
add_compile_definitions(_FILE_OFFSET_BITS=64)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # g++ 12 reports these in the standard library's and Asio's own inlined code when sanitizing.
  add_compile_options(-Wno-maybe-uninitialized)
endif()
# A designated initializer that leaves a member at its default says just that.
add_compile_options(-Wno-missing-field-initializers)
if(SSID_SANITIZE)
  add_compile_options(-fsanitize=${SSID_SANITIZE} -fno-sanitize-recover=undefined)
  add_link_options(-fsanitize=${SSID_SANITIZE})
endif()

find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
include_directories(${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR})
