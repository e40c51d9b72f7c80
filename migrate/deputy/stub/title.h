// What `ps` shows of the stub: the command line, which the kernel reads from where it put argv and
// the environment behind it. No library: part of the stub.
#pragma once

namespace ssi::deputy {

class Title {
 public:
  // `stack`: as the kernel has filled it: argc, argv, null, environment, null.
  explicit Title(const long* stack) {
    char* const* words = reinterpret_cast<char* const*>(stack + 1);
    const long arguments = stack[0];
    if (arguments == 0) return;
    begin_ = words[0];
    const char* last = words[arguments - 1];
    for (char* const* e = words + arguments + 1; *e != nullptr; ++e) last = *e;
    while (*last != 0) ++last;
    end_ = const_cast<char*>(last);
  }

  // `text` ends with a 0 and is cut off where the room ends. What was there, the environment too,
  // is gone.
  void show(const char* text) const {
    char* to = begin_;
    while (to < end_ && *text != 0) *to++ = *text++;
    while (to < end_) *to++ = 0;
  }

 private:
  char* begin_ = nullptr;
  char* end_ = nullptr;  // the 0 of the last word: stays one
};

}  // namespace ssi::deputy
