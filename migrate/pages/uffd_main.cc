// ssid-uffd PID: started by ssid, answers on descriptor 3.
#include <cstdio>
#include <cstdlib>

#include "migrate/pages/uffd_helper.h"

int main(int argc, char** argv) {
  const int pid = argc == 2 ? std::atoi(argv[1]) : 0;
  if (pid <= 1) {
    std::fprintf(stderr, "ssid-uffd: usage: ssid starts it with the PID of a process\n");
    return 2;
  }
  return ssi::migrate::run_uffd_helper(pid, 3);
}
