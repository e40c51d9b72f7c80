// One request of the kernel, answered once: by who has the answer, or with EINTR when the process
// that waits gets a signal (so that nobody waits without being killable while ssid lives). Cheap to
// copy; any thread may answer, but let_interrupt() belongs to the thread that reads the requests.
#pragma once

#define FUSE_USE_VERSION 312
#include <fuse_lowlevel.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <memory>
#include <string>

namespace ssi::fs {

class FuseAnswer {
 public:
  explicit FuseAnswer(fuse_req_t request) : state_(std::make_shared<State>()) {
    state_->request = request;
  }

  void let_interrupt() const {
    if (fuse_req_interrupted(state_->request)) return error(EINTR);
    // libfuse holds it as a bare pointer: it goes with the answer, whoever gives that.
    state_->held_by_fuse = new std::shared_ptr<State>(state_);
    fuse_req_interrupt_func(state_->request, interrupted, state_->held_by_fuse);
  }

  // Runs `reply(request)` unless it has been answered.
  template <typename Reply>
  void with(Reply reply) const {
    if (state_->answered.exchange(true)) return;
    if (state_->held_by_fuse != nullptr) {
      fuse_req_interrupt_func(state_->request, nullptr, nullptr);  // waits for a running one
      delete state_->held_by_fuse;
    }
    reply(state_->request);
  }
  void error(int number) const {
    with([number](fuse_req_t request) { fuse_reply_err(request, number); });
  }
  void entry(const fuse_entry_param& entry) const {
    with([&entry](fuse_req_t request) { fuse_reply_entry(request, &entry); });
  }
  void attr(const struct stat& attr, double timeout_s) const {
    with([&](fuse_req_t request) { fuse_reply_attr(request, &attr, timeout_s); });
  }
  void open(const fuse_file_info& info) const {
    with([&info](fuse_req_t request) { fuse_reply_open(request, &info); });
  }
  void bytes(const std::string& all, std::size_t offset, std::size_t size) const {
    const std::size_t from = std::min(offset, all.size());
    with([&](fuse_req_t request) {
      fuse_reply_buf(request, all.data() + from, std::min(size, all.size() - from));
    });
  }
  void written(std::size_t size) const {
    with([size](fuse_req_t request) { fuse_reply_write(request, size); });
  }

 private:
  struct State {
    fuse_req_t request = nullptr;
    std::atomic<bool> answered{false};
    std::shared_ptr<State>* held_by_fuse = nullptr;
  };
  static void interrupted(fuse_req_t request, void* data) {
    auto* held = static_cast<std::shared_ptr<State>*>(data);
    if ((*held)->answered.exchange(true)) return;  // with() waits for us, and lets it go
    delete held;
    fuse_reply_err(request, EINTR);
  }

  std::shared_ptr<State> state_;
};

}  // namespace ssi::fs
