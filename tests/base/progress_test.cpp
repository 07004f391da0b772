#include "ddpm/base/progress.h"

#include "ddpm/base/text.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <thread>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

namespace ddpm {
namespace {

std::string printed(double interval_s) {
  testing::internal::CaptureStderr();
  {
    Progress progress("training", 10, 2, interval_s);
    progress.update(2, {.detail = "loss 0.5"});
    progress.update(10, {.detail = "loss 0.1"});
  }
  return testing::internal::GetCapturedStderr();
}

TEST(Progress, IsPlainLinesWhereStderrIsNoTerminal) {
  const std::string text = printed(0.0);
  EXPECT_EQ(text.find_first_of("\r\033"), std::string::npos) << text;
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 2) << text;
  EXPECT_EQ(text.substr(0, text.find('\n')), "training 2/10  loss 0.5  0 s so far");
  EXPECT_NE(text.find("training 10/10  loss 0.1  ETA 0 s"), std::string::npos) << text;
}

TEST(Progress, IsSilentWithinTheInterval) { EXPECT_EQ(printed(3600.0), ""); }

const ProgressParts kParts{.title = "training",
                           .count = "1200/2000",
                           .share = 0.6,
                           .detail = "loss 0.0512",
                           .rate = "46.1 images/s",
                           .time = "ETA 12 min 05 s"};

TEST(ProgressLine, DropsTheRateThenTheBarThenTheDetail) {
  EXPECT_EQ(progress_line(kParts, 120),
            "training [##############..........] 1200/2000  loss 0.0512  46.1 images/s  "
            "ETA 12 min 05 s");
  EXPECT_EQ(progress_line(kParts, 79),
            "training [########.....] 1200/2000  loss 0.0512  46.1 images/s  ETA 12 min 05 s");
  EXPECT_EQ(progress_line(kParts, 72),
            "training [#############........] 1200/2000  loss 0.0512  ETA 12 min 05 s");
  EXPECT_EQ(progress_line(kParts, 50), "training 1200/2000  loss 0.0512  ETA 12 min 05 s");
  EXPECT_EQ(progress_line(kParts, 40), "training 1200/2000  ETA 12 min 05 s");
  EXPECT_EQ(progress_line(kParts, 20), "training 1200/2000");
  EXPECT_EQ(progress_line(kParts, 5), "train");
}

TEST(ProgressLine, NeverExceedsTheWidth) {
  for (int width = 0; width < 130; ++width) {
    EXPECT_LE(columns(progress_line(kParts, width)), width);
    EXPECT_LE(columns(progress_line({.title = "lesen für", .count = "1/2"}, width)), width);
  }
}

// stderr on a terminal of our own: what it shows can be read from the other end.
class Terminal {
 public:
  Terminal() : master_(::posix_openpt(O_RDWR | O_NOCTTY)) {
    if (master_ < 0 || ::grantpt(master_) != 0 || ::unlockpt(master_) != 0) return;
    const int slave = ::open(::ptsname(master_), O_RDWR | O_NOCTTY);
    if (slave < 0) return;
    saved_ = ::dup(STDERR_FILENO);
    ::dup2(slave, STDERR_FILENO);
    ::close(slave);
    ::fcntl(master_, F_SETFL, O_NONBLOCK);
  }
  ~Terminal() {
    if (saved_ >= 0) {
      ::dup2(saved_, STDERR_FILENO);
      ::close(saved_);
    }
    if (master_ >= 0) ::close(master_);
  }
  bool ok() const { return saved_ >= 0; }
  void resize(unsigned short columns) const {
    const winsize size{.ws_row = 24, .ws_col = columns, .ws_xpixel = 0, .ws_ypixel = 0};
    ::ioctl(master_, TIOCSWINSZ, &size);
  }
  /// All that was written since the last call.
  std::string shown() const {
    std::string text;
    char buffer[4096];
    for (ssize_t n; (n = ::read(master_, buffer, sizeof buffer)) > 0;) text.append(buffer, n);
    return text;
  }
  /// Waits until something is written.
  std::string next() const {
    std::string text;
    for (int i = 0; i < 500 && text.empty(); ++i) {
      text = shown();
      if (text.empty()) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return text;
  }

 private:
  int master_ = -1, saved_ = -1;
};

class ProgressOnATerminal : public testing::Test {
 protected:
  void SetUp() override {
    ::unsetenv("NO_COLOR");
    ::setenv("TERM", "xterm", 1);
    if (!terminal_.ok()) GTEST_SKIP() << "no pseudo-terminal here";
    terminal_.resize(80);
  }
  void TearDown() override { ::unsetenv("NO_COLOR"); }
  Terminal terminal_;
};

TEST_F(ProgressOnATerminal, StartsAtOnceAndGoesOnWithoutUpdates) {
  Progress progress("reading", 10);
  EXPECT_NE(terminal_.shown().find("reading [........................] 0/10  0 s so far"),
            std::string::npos);
  progress.note("waiting for data");
  EXPECT_NE(terminal_.next().find("0/10  waiting for data"), std::string::npos);
}

TEST_F(ProgressOnATerminal, FollowsTheWidth) {
  const ProgressText text{.count = "", .detail = "loss 0.0512", .rate = "46.1 images/s"};
  Progress progress("training", 2000);
  terminal_.shown();
  std::this_thread::sleep_for(std::chrono::milliseconds(150));
  progress.update(0, text);
  EXPECT_NE(terminal_.shown().find("] 0/2000  loss 0.0512  46.1 images/s  0 s so far"),
            std::string::npos);
  terminal_.resize(40);
  const std::string narrow = terminal_.next();
  EXPECT_TRUE(narrow.starts_with("\rtraining 0/2000  ")) << narrow;
  EXPECT_EQ(narrow.find_first_of("[#"), narrow.find("[K")) << narrow << ": no bar";
  EXPECT_EQ(narrow.find("images/s"), std::string::npos) << narrow;
}

TEST_F(ProgressOnATerminal, LeavesAnEmptyLine) {
  { Progress progress("reading", 10); }
  EXPECT_TRUE(terminal_.shown().ends_with("\r\033[K"));
}

TEST_F(ProgressOnATerminal, IsPlainIfColourIsRefused) {
  for (const auto& [name, value] : {std::pair("NO_COLOR", "1"), std::pair("TERM", "dumb")}) {
    ::setenv(name, value, 1);
    Progress progress("reading", 10, 0, 0.0);
    progress.update(5);
    EXPECT_EQ(terminal_.shown().find_first_of("\033#"), std::string::npos) << name;
    ::unsetenv("NO_COLOR");
    ::setenv("TERM", "xterm", 1);
  }
}

}  // namespace
}  // namespace ddpm
