#include "loadlevel/cli/command.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "ssid/base/log.h"

namespace ssi::cli {
namespace {

std::string json_text(const nlohmann::json& json, int indent) {
  return json.dump(indent, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

// With --json an error is an object on stdout too, with what ssid knows more about it.
int fail_question(const Question& question, const Error& error, const nlohmann::json& details) {
  if (question.json) {
    nlohmann::json object = details.is_object() ? details : nlohmann::json::object();
    object["error"] = error.message();
    object["code"] = api_code_name(api_code(error.code()));
    (void)print(question.name, json_text(object, 2));
  }
  return fail(question.name, question.what, error);
}

}  // namespace

std::string failure_line(const std::string& name, const std::string& what, const Error& error) {
  std::string line = name + ": ";
  if (!what.empty() && !error.message().starts_with(what + ":")) line += what + ": ";
  return one_line(line + error.message());
}

int fail(const std::string& name, const std::string& what, const Error& error) {
  std::fprintf(stderr, "%s\n", failure_line(name, what, error).c_str());
  return error.code() == ErrorCode::kUsage ? kExitUsage : kExitFailed;
}

int execute(std::vector<std::string> command) {
  std::vector<char*> argv;
  for (std::string& word : command) argv.push_back(word.data());
  argv.push_back(nullptr);
  ::execvp(argv[0], argv.data());
  return errno;
}

bool print(const std::string& name, const std::string& text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0)
    return true;
  (void)fail(name, "write", Error(std::strerror(errno)));
  return false;
}

Asked ask(const Question& question, const std::function<bool(const nlohmann::json&)>& on_part) {
  auto client = ControlClient::connect();
  if (!client) return {std::nullopt, fail_question(question, client.error(), {})};
  auto answer = client->stream(question.op, question.args, on_part, question.timeout_ms);
  if (answer) return {std::move(*answer), 0};
  return {std::nullopt, fail_question(question, answer.error(), client->error_details())};
}

int print_json(const Question& question, const nlohmann::json& answer) {
  return print(question.name, json_text(answer, 2)) ? 0 : kExitFailed;
}

int ask_and_print(const Question& question,
                  const std::function<std::string(const nlohmann::json&)>& to_text) {
  return follow_and_print(question, false, nullptr, to_text);
}

int follow_and_print(const Question& question, bool parts_are_progress,
                     const std::function<std::string(const nlohmann::json&)>& part_text,
                     const std::function<std::string(const nlohmann::json&)>& to_text) {
  bool written = true;
  const auto on_part = [&](const nlohmann::json& part) {
    if (!part_text) return true;
    if (parts_are_progress) {
      const std::string text = question.json ? "" : part_text(part);
      std::fwrite(text.data(), 1, text.size(), stderr);
    } else {
      written = print(question.name, question.json ? json_text(part, -1) : part_text(part));
    }
    return written;
  };
  const auto [answer, status] = ask(question, on_part);
  if (!answer) return status;
  if (!written) return kExitFailed;
  // What was said in parts has been printed; an empty answer only ends it.
  if (question.json && (!part_text || parts_are_progress)) return print_json(question, *answer);
  const std::string text = question.json ? "" : to_text(*answer);
  return text.empty() || print(question.name, text) ? 0 : kExitFailed;
}

}  // namespace ssi::cli
