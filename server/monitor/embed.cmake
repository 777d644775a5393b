# SPDX-License-Identifier: Apache-2.0
# cmake -DOUT=FILE.cc -DFOLDER=server/status -DNAMES="a b" -P embed.cmake: writes the files as a C++ source.
set(arrays "")
set(entries "")
string(REPLACE " " ";" names "${NAMES}")
foreach(name IN LISTS names)
  file(READ ${FOLDER}/${name} hex HEX)
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
  string(MAKE_C_IDENTIFIER ${name} id)
  string(APPEND arrays "const unsigned char ${id}[] = {${bytes}};\n")
  set(path "/${name}")
  if(name STREQUAL "index.html")
    set(path "/")
  endif()
  if(name MATCHES "html$")
    set(type "text/html; charset=utf-8")
  elseif(name MATCHES "css$")
    set(type "text/css; charset=utf-8")
  elseif(name MATCHES "js$")
    set(type "text/javascript; charset=utf-8")
  else()
    set(type "image/svg+xml")
  endif()
  string(APPEND entries "      {\"${path}\", \"${type}\", {reinterpret_cast<const char*>(${id}), sizeof ${id}}},\n")
endforeach()
file(WRITE ${OUT} "// Made by server/monitor/embed.cmake.
#include \"server/monitor/status_files.h\"

namespace lstmd::server {
namespace {

${arrays}
}  // namespace

const std::vector<StatusFile>& StatusFiles() {
  static const auto* const files = new std::vector<StatusFile>{
${entries}  };
  return *files;
}

}  // namespace lstmd::server
")
