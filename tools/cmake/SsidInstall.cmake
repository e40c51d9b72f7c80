# What `cmake --install BUILD --prefix /usr` puts on a node. Called when all rooms have been read; a room
# that is not built leaves its programs out.
include(GNUInstallDirs)

set(SSID_SBIN_PROGRAMS ssid)
set(SSID_LIB_PROGRAMS ssid-carrier ssid-realm ssid-deputy ssid-uffd)
set(SSID_BIN_PROGRAMS cluster loadlevel migrate mon onall runon ssips)

function(ssid_install_programs destination)
  foreach(program IN LISTS ARGN)
    if(TARGET ${program})
      install(TARGETS ${program} RUNTIME DESTINATION ${destination})
    endif()
  endforeach()
endfunction()

# Manual pages (OPTIONAL: who builds only some programs has none), and the completion, one file under many names.
function(ssid_install_manual packaging)
  get_property(pages GLOBAL PROPERTY SSID_MAN_PAGES)
  foreach(page IN LISTS pages)
    string(REGEX MATCH "[0-9]$" section ${page})
    install(FILES ${page} DESTINATION ${CMAKE_INSTALL_MANDIR}/man${section} OPTIONAL)
  endforeach()
  set(completion ${CMAKE_BINARY_DIR}/completion)
  file(MAKE_DIRECTORY ${completion})
  configure_file(${packaging}/completion/ssid ${completion}/ssid COPYONLY)
  foreach(program IN ITEMS ssid-carrier ${SSID_BIN_PROGRAMS})
    file(CREATE_LINK ssid ${completion}/${program} SYMBOLIC)
    list(APPEND links ${completion}/${program})
  endforeach()
  install(FILES ${completion}/ssid ${links} DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
endfunction()

function(ssid_install_rules)
  ssid_install_programs(sbin ${SSID_SBIN_PROGRAMS})
  ssid_install_programs(lib/ssid ${SSID_LIB_PROGRAMS})
  ssid_install_programs(bin ${SSID_BIN_PROGRAMS})
  set(packaging ${CMAKE_SOURCE_DIR}/packaging)
  install(FILES ${packaging}/ssid.service ${packaging}/ssid-carrier.service
          DESTINATION lib/systemd/system)
  install(FILES ${packaging}/ssid.toml DESTINATION /etc/ssi)
  install(FILES ${packaging}/corosync.conf.example DESTINATION share/doc/ssid/examples)
  ssid_install_manual(${packaging})
endfunction()
