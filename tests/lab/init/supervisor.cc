#include "tests/lab/init/supervisor.h"

#include <csignal>
#include <sstream>

namespace ssi::lab {

Result<ServiceSpec> parse_service(std::string_view text) {
  std::istringstream words{std::string(text)};
  ServiceSpec spec;
  std::string kind;
  words >> spec.name >> kind >> spec.log_path;
  for (std::string word; words >> word;) spec.argv.push_back(word);
  if (spec.argv.empty() || (kind != "notify" && kind != "simple")) {
    return Error("service: want NAME notify|simple LOG PROGRAM ARG...: " + std::string(text));
  }
  spec.notify = kind == "notify";
  return spec;
}

Supervisor::Supervisor(std::vector<ServiceSpec> specs, Launcher& launcher) : launcher_(launcher) {
  for (ServiceSpec& spec : specs) {
    Service service;
    service.spec = std::move(spec);
    services_.push_back(std::move(service));
  }
}

void Supervisor::start(Service& service, TimePoint now) {
  auto pid = launcher_.launch(service.spec);
  if (!pid) {
    service.state = State::kFailed;
    service.passed = true;
    service.deadline.reset();
    return;
  }
  service.pid = *pid;
  if (service.spec.notify) {
    service.state = State::kStarting;
    service.deadline = now + kReadyTimeout;
  } else {
    service.state = State::kReady;
    service.passed = true;
    service.deadline.reset();
  }
}

void Supervisor::stop(Service& service, TimePoint now) {
  if (service.pid == 0) {
    service.state = State::kStopped;
    service.deadline.reset();
    return;
  }
  launcher_.signal(service.pid, SIGTERM);
  launcher_.signal(service.pid, SIGCONT);
  service.state = State::kStopping;
  service.deadline = now + kStopTimeout;
}

void Supervisor::advance(TimePoint now) {
  bool before_passed = true;
  for (Service& service : services_) {
    const bool due = !service.deadline || *service.deadline <= now;
    switch (service.state) {
      case State::kWaiting:
        if (due && before_passed) start(service, now);
        break;
      case State::kStarting:
        if (due) {
          service.passed = true;
          service.deadline.reset();
        }
        break;
      case State::kStopping:
        if (due) {
          launcher_.signal(service.pid, SIGKILL);
          service.deadline = now + kStopTimeout;
        }
        break;
      case State::kReady:
      case State::kStopped:
      case State::kFailed:
        break;
    }
    before_passed = before_passed && (service.passed || !service.wanted);
  }
}

std::optional<TimePoint> Supervisor::next_deadline() const {
  std::optional<TimePoint> next;
  for (const Service& service : services_) {
    if (service.deadline && (!next || *service.deadline < *next)) next = service.deadline;
  }
  return next;
}

void Supervisor::on_exit(pid_t pid, TimePoint now) {
  for (Service& service : services_) {
    if (service.pid != pid || pid == 0) continue;
    const bool asked = service.state == State::kStopping;
    service.pid = 0;
    if (!service.wanted) {
      service.state = State::kStopped;
      service.deadline.reset();
      return;
    }
    service.state = State::kWaiting;
    service.deadline = asked ? now : now + kRestartDelay;
    ++service.restarts;
  }
}

void Supervisor::on_ready(pid_t pid) {
  for (Service& service : services_) {
    if (service.pid != pid || pid == 0 || service.state != State::kStarting) continue;
    service.state = State::kReady;
    service.passed = true;
    service.deadline.reset();
  }
}

Result<> Supervisor::command(std::string_view action, std::string_view name, int signal,
                             TimePoint now) {
  for (Service& service : services_) {
    if (service.spec.name != name) continue;
    if (action == "stop") {
      service.wanted = false;
      if (service.state != State::kStopping) stop(service, now);
    } else if (action == "start") {
      service.wanted = true;
      if (service.pid == 0) {
        service.state = State::kWaiting;
        service.deadline = now;
      }
    } else if (action == "restart") {
      service.wanted = true;
      if (service.pid != 0) {
        stop(service, now);
      } else {
        service.state = State::kWaiting;
        service.deadline = now;
      }
    } else if (action == "kill") {
      if (service.pid == 0) return Error("service: not running: " + std::string(name));
      launcher_.signal(service.pid, signal);
    } else {
      return Error("service: want stop start restart or kill: " + std::string(action));
    }
    return {};
  }
  return Error("service: no such service: " + std::string(name));
}

std::string_view Supervisor::name_of(State state) {
  switch (state) {
    case State::kWaiting:
      return "waiting";
    case State::kStarting:
      return "starting";
    case State::kReady:
      return "ready";
    case State::kStopping:
      return "stopping";
    case State::kStopped:
      return "stopped";
    case State::kFailed:
      return "failed";
  }
  return "?";
}

std::vector<std::string> Supervisor::status() const {
  std::vector<std::string> fields;
  for (const Service& service : services_) {
    fields.push_back(service.spec.name);
    fields.emplace_back(name_of(service.state));
    fields.push_back(std::to_string(service.pid));
    fields.push_back(std::to_string(service.restarts));
  }
  return fields;
}

}  // namespace ssi::lab
