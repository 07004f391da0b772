#include "ddpm/base/host.h"
#include "tests/io/temporary_folder.h"

#include <filesystem>
#include <fstream>
#include <string>

#include <gtest/gtest.h>

namespace ddpm {
namespace {

class CpuQuota : public testing::Test {
 protected:
  void write(const std::string& path, const std::string& text) {
    std::filesystem::create_directories((folder_ / path).parent_path());
    std::ofstream(folder_ / path) << text;
  }
  std::optional<double> quota() { return cpu_quota(folder_.path()); }
  TemporaryFolder folder_;
};

TEST_F(CpuQuota, NothingLimitsAProcessWithoutGroups) {
  EXPECT_EQ(quota(), std::nullopt);
  write("proc/self/cgroup", "0::/\n");
  EXPECT_EQ(quota(), std::nullopt);
}

TEST_F(CpuQuota, VersionTwoOfAContainer) {
  write("proc/self/cgroup", "0::/\n");
  write("sys/fs/cgroup/cpu.max", "150000 100000\n");
  EXPECT_EQ(quota(), 1.5);
  write("sys/fs/cgroup/cpu.max", "max 100000\n");
  EXPECT_EQ(quota(), std::nullopt);
}

TEST_F(CpuQuota, TheLeastOfAllGroupsAboveCounts) {
  write("proc/self/cgroup", "0::/job/step/task\n");
  write("sys/fs/cgroup/job/step/task/cpu.max", "max 100000\n");
  write("sys/fs/cgroup/job/step/cpu.max", "800000 100000\n");
  write("sys/fs/cgroup/job/cpu.max", "25000 10000\n");
  EXPECT_EQ(quota(), 2.5);
}

TEST_F(CpuQuota, VersionOne) {
  write("proc/self/cgroup", "9:memory:/docker/c0ffee\n4:cpu,cpuacct:/docker/c0ffee\n0::/\n");
  // What a container sees: its own group is the root of the mount.
  write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "400000\n");
  write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(quota(), 4.0);
  // What the host sees: the group below it.
  write("sys/fs/cgroup/cpu,cpuacct/docker/c0ffee/cpu.cfs_quota_us", "50000\n");
  write("sys/fs/cgroup/cpu,cpuacct/docker/c0ffee/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(quota(), 0.5);
  write("sys/fs/cgroup/cpu,cpuacct/docker/c0ffee/cpu.cfs_quota_us", "-1\n");
  write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n");
  EXPECT_EQ(quota(), std::nullopt);
}

TEST_F(CpuQuota, VersionOneUnderItsShortName) {
  write("proc/self/cgroup", "1:cpu:/\n2:cpuacct:/\n3:cpuset:/\n");
  write("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "300000\n");
  write("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(quota(), 3.0);
}

TEST_F(CpuQuota, WhatIsNoNumberIsNoLimit) {
  write("proc/self/cgroup", "nonsense\n0::/\n1:cpu\n");
  write("sys/fs/cgroup/cpu.max", "many 100000\n");
  EXPECT_EQ(quota(), std::nullopt);
  write("sys/fs/cgroup/cpu.max", "100000 0\n");
  EXPECT_EQ(quota(), std::nullopt);
}

TEST(UsableThreads, AsManyAsTheQuotaFeeds) {
  EXPECT_EQ(usable_threads(16, std::nullopt), 16);
  EXPECT_EQ(usable_threads(16, 2.0), 2);
  EXPECT_EQ(usable_threads(16, 2.9), 2);
  EXPECT_EQ(usable_threads(16, 0.5), 1);
  EXPECT_EQ(usable_threads(2, 8.0), 2);
}

}  // namespace
}  // namespace ddpm
