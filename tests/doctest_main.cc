#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>
#include <signal.h>
#include <unistd.h>

#include <cstring>

namespace {

constexpr unsigned kHangs_s = 200;  // the longest case takes some 20 s on a busy machine

const char* volatile running = "";

void give_up(int) {
  const char* const name = running;
  (void)!::write(STDERR_FILENO, "hangs: TEST_CASE: ", 18);
  (void)!::write(STDERR_FILENO, name, std::strlen(name));
  (void)!::write(STDERR_FILENO, "\n", 1);
  ::_exit(1);
}

// A case that does not end says which it is and fails, instead of all that would come after it.
class Watchdog : public doctest::IReporter {
 public:
  explicit Watchdog(const doctest::ContextOptions&) { ::signal(SIGALRM, give_up); }
  void test_case_start(const doctest::TestCaseData& test) override {
    running = test.m_name;
    ::alarm(kHangs_s);
  }
  void test_case_end(const doctest::CurrentTestCaseStats&) override { ::alarm(0); }

  void report_query(const doctest::QueryData&) override {}
  void test_run_start() override {}
  void test_run_end(const doctest::TestRunStats&) override {}
  void test_case_reenter(const doctest::TestCaseData&) override {}
  void test_case_exception(const doctest::TestCaseException&) override {}
  void subcase_start(const doctest::SubcaseSignature&) override {}
  void subcase_end() override {}
  void log_assert(const doctest::AssertData&) override {}
  void log_message(const doctest::MessageData&) override {}
  void test_case_skipped(const doctest::TestCaseData&) override {}
};

REGISTER_LISTENER("watchdog", 1, Watchdog);

}  // namespace
