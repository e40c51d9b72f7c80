#include "migrate/deputy/seccomp_filter.h"

#include <linux/audit.h>
#include <linux/seccomp.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace ssi::deputy {
namespace {

constexpr int kStepsMax = 200'000;

using Word = std::optional<std::uint32_t>;  // none: not known

struct State {
  std::size_t at = 0;
  Word a = 0, x = 0;
  std::array<Word, BPF_MEMWORDS> memory{};
};

Word loaded(const DeputyCall& call, std::uint32_t offset) {
  constexpr std::uint32_t kFirst = offsetof(seccomp_data, args);
  const auto first = static_cast<std::uint64_t>(call.first);
  if (offset == offsetof(seccomp_data, nr)) return static_cast<std::uint32_t>(call.number);
  if (offset == offsetof(seccomp_data, arch)) return AUDIT_ARCH_X86_64;
  if (call.first == kAnyArgument) return {};
  if (offset == kFirst) return static_cast<std::uint32_t>(first);
  if (offset == kFirst + 4) return static_cast<std::uint32_t>(first >> 32);
  return {};
}

// None if the filter ends there, which kills.
std::optional<Word> computed(unsigned operation, const Word& a, const Word& b) {
  if (operation == BPF_NEG) return a ? Word(0U - *a) : Word();
  const bool shift = operation == BPF_LSH || operation == BPF_RSH;
  if (b && ((operation == BPF_DIV && *b == 0) || (shift && *b > 31))) return {};
  if (operation == BPF_DIV && !b) return {};
  if (!a || !b) return Word();
  switch (operation) {
    case BPF_ADD:
      return Word(*a + *b);
    case BPF_SUB:
      return Word(*a - *b);
    case BPF_MUL:
      return Word(*a * *b);
    case BPF_DIV:
      return Word(*a / *b);
    case BPF_AND:
      return Word(*a & *b);
    case BPF_OR:
      return Word(*a | *b);
    case BPF_XOR:
      return Word(*a ^ *b);
    case BPF_LSH:
      return Word(*a << *b);
    case BPF_RSH:
      return Word(*a >> *b);
    default:
      return {};
  }
}

std::optional<bool> compared(unsigned operation, const Word& a, const Word& b) {
  if (!a || !b) return {};
  switch (operation) {
    case BPF_JEQ:
      return *a == *b;
    case BPF_JGT:
      return *a > *b;
    case BPF_JGE:
      return *a >= *b;
    default:
      return (*a & *b) != 0;  // BPF_JSET
  }
}

bool allows(const Word& result) {
  if (!result) return false;
  const std::uint32_t action = *result & SECCOMP_RET_ACTION_FULL;
  return action == SECCOMP_RET_ALLOW || action == SECCOMP_RET_LOG;
}

class Paths {
 public:
  Paths(std::span<const sock_filter> filter, const DeputyCall& call)
      : filter_(filter), call_(call) {}

  bool all_allow() {
    open_.push_back({});
    for (int steps = 0; !open_.empty(); ++steps) {
      if (steps == kStepsMax) return false;
      State now = open_.back();
      open_.pop_back();
      if (now.at >= filter_.size() || !step(now)) return false;
    }
    return true;
  }

 private:
  // False: it ends otherwise than by letting the call through.
  bool step(State now) {
    const sock_filter& does = filter_[now.at++];
    const Word operand = BPF_SRC(does.code) == BPF_X ? now.x : Word(does.k);
    switch (BPF_CLASS(does.code)) {
      case BPF_LD:
        return load(does, now.a) && go_on(now, does);
      case BPF_LDX:
        return load(does, now.x) && go_on(now, does);
      case BPF_ST:
      case BPF_STX:
        if (does.k >= BPF_MEMWORDS) return false;
        now.memory[does.k] = BPF_CLASS(does.code) == BPF_ST ? now.a : now.x;
        return push(now);
      case BPF_ALU: {
        const auto result = computed(BPF_OP(does.code), now.a, operand);
        if (!result) return false;
        now.a = *result;
        return push(now);
      }
      case BPF_JMP:
        return jump(does, operand, now);
      case BPF_RET:
        return allows(BPF_RVAL(does.code) == BPF_A ? now.a : Word(does.k));
      default:  // BPF_MISC
        if (BPF_MISCOP(does.code) == BPF_TAX) {
          now.x = now.a;
        } else {
          now.a = now.x;
        }
        return push(now);
    }
  }

  bool load(const sock_filter& does, Word& into) const {
    switch (BPF_MODE(does.code)) {
      case BPF_ABS:
        into = loaded(call_, does.k);
        return true;
      case BPF_LEN:
        into = std::uint32_t{sizeof(seccomp_data)};
        return true;
      case BPF_IMM:
        into = does.k;
        return true;
      default:
        return BPF_MODE(does.code) == BPF_MEM && does.k < BPF_MEMWORDS;
    }
  }

  bool go_on(State& now, const sock_filter& does) {
    if (BPF_MODE(does.code) == BPF_MEM) {
      (BPF_CLASS(does.code) == BPF_LD ? now.a : now.x) = now.memory[does.k];
    }
    return push(now);
  }

  bool jump(const sock_filter& does, const Word& operand, State now) {
    if (BPF_OP(does.code) == BPF_JA) {
      now.at += does.k;
      return push(now);
    }
    const auto so = compared(BPF_OP(does.code), now.a, operand);
    if (!so || *so) {
      State yes = now;
      yes.at += does.jt;
      if (BPF_OP(does.code) == BPF_JEQ) yes.a = operand;
      push(yes);
    }
    if (!so || !*so) {
      now.at += does.jf;
      push(now);
    }
    return true;
  }

  bool push(const State& state) {
    open_.push_back(state);
    return true;
  }

  const std::span<const sock_filter> filter_;
  const DeputyCall& call_;
  std::vector<State> open_;
};

}  // namespace

bool always_allows(std::span<const sock_filter> filter, const DeputyCall& call) {
  return Paths(filter, call).all_allow();
}

bool asks_another(std::span<const sock_filter> filter) {
  return std::ranges::any_of(filter, [](const sock_filter& does) {
    return BPF_CLASS(does.code) == BPF_RET &&
           (BPF_RVAL(does.code) == BPF_A ||  // whatever that is
            (does.k & SECCOMP_RET_ACTION_FULL) == SECCOMP_RET_USER_NOTIF);
  });
}

}  // namespace ssi::deputy
