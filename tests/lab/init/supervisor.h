// The services of a lab node, kept alive as systemd keeps them on a real machine: started in order
// (each after the one before is ready), restarted a moment after they end unless told to stop, only
// their main process signalled (KillMode=process).
//
// Pure but for the Launcher passed in: time comes as an argument. Owned by lab-init's loop, one
// thread.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ssid/base/result.h"

namespace ssi::lab {

using TimePoint = std::chrono::steady_clock::time_point;

struct ServiceSpec {
  std::string name;
  bool notify = false;  // ready when it says READY=1, else as soon as it runs
  std::string log_path;
  std::vector<std::string> argv;
};

// "NAME notify|simple LOG PROGRAM ARG..."
Result<ServiceSpec> parse_service(std::string_view text);

// How a service is started and signalled; lab-init's forks, the test's only counts.
class Launcher {
 public:
  virtual ~Launcher() = default;
  virtual Result<pid_t> launch(const ServiceSpec& spec) = 0;
  virtual void signal(pid_t pid, int signal) = 0;
};

class Supervisor {
 public:
  static constexpr std::chrono::milliseconds kRestartDelay{200};
  static constexpr std::chrono::seconds kReadyTimeout{15};  // then the next one is started anyway
  static constexpr std::chrono::seconds kStopTimeout{10};   // then SIGKILL

  Supervisor(std::vector<ServiceSpec> specs, Launcher& launcher);

  // Acts on all that is due; call it after every event and when next_deadline() has come.
  void advance(TimePoint now);
  std::optional<TimePoint> next_deadline() const;

  void on_exit(pid_t pid, TimePoint now);  // a pid that is no service's is ignored
  void on_ready(pid_t pid);

  // stop start restart kill; returns at once, status() shows how far it is.
  Result<> command(std::string_view action, std::string_view name, int signal, TimePoint now);

  // Four fields a service: name, state (waiting starting ready stopping stopped failed), pid,
  // restarts.
  std::vector<std::string> status() const;

 private:
  enum class State { kWaiting, kStarting, kReady, kStopping, kStopped, kFailed };
  struct Service {
    ServiceSpec spec;
    State state = State::kWaiting;
    bool wanted = true;   // false: do not restart
    bool passed = false;  // has been ready once, or took too long: the next one may start
    pid_t pid = 0;
    int restarts = 0;
    std::optional<TimePoint> deadline;  // kWaiting: start; kStarting: give up; kStopping: SIGKILL
  };

  void start(Service& service, TimePoint now);
  void stop(Service& service, TimePoint now);
  static std::string_view name_of(State state);

  std::vector<Service> services_;
  Launcher& launcher_;
};

}  // namespace ssi::lab
