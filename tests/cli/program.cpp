#include "tests/cli/program.h"

#include "ddpm/cli/app.h"
#include "ddpm/io/file.h"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <thread>

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

namespace ddpm {

namespace {

std::vector<char*> pointers(std::vector<std::string>& words) {
  std::vector<char*> result;
  for (std::string& word : words) result.push_back(word.data());
  result.push_back(nullptr);
  return result;
}

}  // namespace

Program::Program(const std::filesystem::path& folder, const std::vector<std::string>& arguments,
                 const std::vector<std::string>& environment, const std::string& executable) {
  std::vector<std::string> words{executable};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<std::string> variables = environment;  // the first of a name counts
  for (char** variable = environ; *variable != nullptr; ++variable)
    variables.emplace_back(*variable);
  const std::vector<char*> argv = pointers(words), envp = pointers(variables);
  start(folder, [&] {
    ::execve(executable.c_str(), argv.data(), envp.data());
    ::_exit(126);
  });
}

Program::Program(const std::filesystem::path& folder, const std::function<void()>& run) {
  start(folder, run);
}

void Program::start(const std::filesystem::path& folder, const std::function<void()>& run) {
  static int count = 0;
  out_ = folder / ("out-" + std::to_string(count));
  err_ = folder / ("err-" + std::to_string(count++));
  std::fflush(nullptr);  // or both processes would write what waits
  pid_ = ::fork();
  if (pid_ < 0) throw std::runtime_error("fork failed");
  if (pid_ > 0) return;
  const int out = ::open(out_.c_str(), O_CREAT | O_WRONLY | O_TRUNC, 0644);
  const int err = ::open(err_.c_str(), O_CREAT | O_WRONLY | O_TRUNC, 0644);
  if (out < 0 || err < 0 || ::chdir(folder.c_str()) != 0) ::_exit(125);
  ::dup2(out, STDOUT_FILENO);
  ::dup2(err, STDERR_FILENO);
  run();
}

Program::~Program() {
  if (!ended()) {
    send(SIGKILL);
    wait();
  }
}

void Program::send(int signal) const { ::kill(pid_, signal); }

bool Program::ended() {
  if (!ended_ && ::waitpid(pid_, &status_, WNOHANG) == pid_) ended_ = true;
  return ended_;
}

bool Program::wait_for_message(const std::string& text) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(2);
  while (std::chrono::steady_clock::now() < deadline) {
    const bool was_ended = ended();
    if (std::filesystem::exists(err_) && io::read_text(err_).find(text) != std::string::npos)
      return true;
    if (was_ended) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return false;
}

ProgramResult Program::wait() {
  if (!ended_) ::waitpid(pid_, &status_, 0);
  ended_ = true;
  const int status = WIFEXITED(status_) ? WEXITSTATUS(status_) : 128 + WTERMSIG(status_);
  return {status, io::read_text(out_), io::read_text(err_)};
}

ProgramResult run_program(const std::filesystem::path& folder,
                          const std::vector<std::string>& arguments) {
  std::vector<std::string> words{"ddpm"};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv = pointers(words);
  // As main() does; noexcept, because GoogleTest would catch what ends the program.
  return Program(
             folder,
             [&]() noexcept { std::exit(cli::run(static_cast<int>(words.size()), argv.data())); })
      .wait();
}

}  // namespace ddpm
