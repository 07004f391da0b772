#include "ddpm/dist/launch.h"
#include "tests/dist/free_port.h"

#include <string>

#include <gtest/gtest.h>

namespace ddpm::dist {
namespace {

TEST(PortProblem, IsThatAnotherProgramListens) {
  const int port = free_port();
  EXPECT_EQ(port_problem(port, true), "");
  EXPECT_EQ(port_problem(port, true), "") << "the port is given back";

  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<uint16_t>(port));
  ASSERT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(::listen(fd, 1), 0);
  const std::string problem = port_problem(port, true);
  ::close(fd);
  EXPECT_NE(problem.find("port " + std::to_string(port)), std::string::npos) << problem;
  EXPECT_NE(problem.find("MASTER_PORT"), std::string::npos) << problem;
}

TEST(NcclVersion, IsThreeNumbersOrNothing) {
  const std::string version = nccl_version();
  if (version.empty()) GTEST_SKIP() << "built without NCCL";
  EXPECT_EQ(version.find_first_not_of("0123456789."), std::string::npos) << version;
}

}  // namespace
}  // namespace ddpm::dist
