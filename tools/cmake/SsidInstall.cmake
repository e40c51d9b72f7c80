# What `cmake --install BUILD --prefix /usr` puts on a node. Called when all rooms have been read; a room
# that is not built leaves its programs out.
include(GNUInstallDirs)

set(SSID_SBIN_PROGRAMS ssid)
set(SSID_LIB_PROGRAMS ssid-carrier ssid-realm ssid-deputy)
set(SSID_BIN_PROGRAMS cluster loadlevel migrate ssips)

function(ssid_install_programs destination)
  foreach(program IN LISTS ARGN)
    if(TARGET ${program})
      install(TARGETS ${program} RUNTIME DESTINATION ${destination})
    endif()
  endforeach()
endfunction()

# OPTIONAL: who builds only some programs has no pages.
function(ssid_install_manual)
  get_property(pages GLOBAL PROPERTY SSID_MAN_PAGES)
  foreach(page IN LISTS pages)
    string(REGEX MATCH "[0-9]$" section ${page})
    install(FILES ${page} DESTINATION ${CMAKE_INSTALL_MANDIR}/man${section} OPTIONAL)
  endforeach()
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
  ssid_install_manual()
endfunction()
