#include "migrate/streams/closing.h"

namespace ssi::migrate {

void Closing::start(std::function<void()> close) {
  std::lock_guard lock(mutex_);
  std::erase_if(tasks_, [](const auto& task) {
    if (!task->done) return false;
    task->thread.join();
    return true;
  });
  Task& task = *tasks_.emplace_back(std::make_unique<Task>());
  task.thread = std::thread([&task, close = std::move(close)]() mutable {
    close();
    close = nullptr;  // what it holds ends in here, too
    task.done = true;
  });
}

void Closing::wait() {
  std::list<std::unique_ptr<Task>> tasks;
  {
    std::lock_guard lock(mutex_);
    tasks.swap(tasks_);
  }
  for (const auto& task : tasks) task->thread.join();
}

std::size_t Closing::size() const {
  std::lock_guard lock(mutex_);
  return tasks_.size();
}

}  // namespace ssi::migrate
