#include "ddpm/train/run_view.h"

#include "ddpm/base/error.h"
#include "ddpm/base/text.h"
#include "ddpm/checkpoint/run_lock.h"
#include "ddpm/io/file.h"
#include "tests/io/fixtures.h"
#include "tests/io/temporary_folder.h"

#include <gtest/gtest.h>

namespace ddpm::train {
namespace {

class RunViews : public testing::Test {
 protected:
  void SetUp() override {
    write("run.lock", "");
    write("config.toml", "[train]\nsteps = 2000\n");
  }
  void write(const std::string& name, const std::string& text) {
    fixtures::write(run_ / name, fixtures::from_text(text));
  }
  RunView view() { return view_of_run(run_.path()); }

  TemporaryFolder run_;
};

TEST_F(RunViews, OfARunThatHasJustBegun) {
  RunView expected;
  expected.steps = 2000;
  EXPECT_EQ(view(), expected);
  const checkpoint::RunLock lock(run_.path());
  EXPECT_EQ(view().state, RunView::State::kRunning);
  EXPECT_EQ(to_line(view()), "training, step 0/2,000");
}

TEST_F(RunViews, TakeTheNewestNumbersAndPassOverWhatIsNotWhole) {
  write("metrics.jsonl",
        "{\"step\":50,\"loss\":9.0,\"holdout_loss_ema\":0.5}\n"
        "{\"step\":960,\"loss\":0.2}\n"
        "damaged\n"
        "{\"step\":1000,\"loss\":0.4,\"lr\":0.001,\"images_per_s\":12.5,\"memory_mib\":300,"
        "\"data_wait\":0.25,\"grad_norm\":0.125,\"eta_s\":80}\n"
        "{\"step\":1050,\"los");  // still being written
  write("quality.jsonl",
        "{\"step\":500,\"frechet\":3.0}\n{\"step\":800,\"frechet\":2.0}\n"
        "{\"step\":900,\"frechet\":2.5}\n");
  fixtures::write(run_ / "checkpoints" / "step-000000900" / "MANIFEST", {});
  write("log.txt",
        "[2026-11-27 13:54:32] info first\n[2026-11-27 13:54:36] warning the loss rises\n");
  const RunView v = view();
  EXPECT_EQ(v.step, 1000);
  EXPECT_NEAR(v.loss.value(), 0.3, 1e-12) << "of the steps after 950";
  EXPECT_EQ(v.last_loss, 0.4);
  EXPECT_EQ(v.holdout_loss, 0.5);
  EXPECT_EQ(v.best_frechet, 2.0);
  EXPECT_EQ(v.best_step, 800);
  EXPECT_EQ(v.last_message, "13:54:36 warning the loss rises");
  EXPECT_EQ(v.state, RunView::State::kStopped);
  EXPECT_EQ(to_line(v),
            "stopped, step 1,000/2,000, loss 0.3000, held out 0.5000, lr 0.001, gradient 0.12, "
            "12.5 images/s, 25 % waiting for data, 300 MiB");
}

TEST_F(RunViews, FitEveryWidth) {
  write("log.txt", "[2026-11-27 13:54:36] info " + std::string(200, 'x') + "\n");
  write("metrics.jsonl",
        "{\"step\":1000,\"loss\":0.4,\"lr\":0.001,\"images_per_s\":12.5,\"memory_mib\":300,"
        "\"grad_norm\":0.125,\"eta_s\":80}\n");
  const checkpoint::RunLock lock(run_.path());
  for (const int width : {40, 80, 200}) {
    const auto lines = to_lines(view(), "runs/mine", width);
    EXPECT_EQ(lines.size(), 4u);
    for (const std::string& line : lines) EXPECT_LE(columns(line), width) << line;
  }
  EXPECT_NE(to_lines(view(), "runs/mine", 80)[0].find("ETA 1 min 20 s"), std::string::npos);
}

TEST_F(RunViews, OfAnotherFolderIsAnError) {
  const TemporaryFolder other;
  EXPECT_NE(fixtures::message_of<IoError>([&] {
              view_of_run(other.path());
            }).find("is not a training run"),
            std::string::npos);
}

}  // namespace
}  // namespace ddpm::train
