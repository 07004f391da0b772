#include "tests/cli/fixture.h"

#include <string>
#include <vector>

namespace ddpm {
namespace {

class Threads : public CliTest {
 protected:
  // What libgomp read when it was loaded, as it prints it: "GOMP_SPINCOUNT = '10000'".
  std::string spin_count(std::vector<std::string> environment) {
    environment.emplace_back("OMP_DISPLAY_ENV=verbose");
    const std::string shown = Program(folder_.path(), {"--version"}, environment).wait().err;
    const std::string name = "GOMP_SPINCOUNT = '";
    const size_t at = shown.find(name);
    if (at == std::string::npos) return shown;
    const size_t begin = at + name.size();
    return shown.substr(begin, shown.find('\'', begin) - begin);
  }
};

// A default of milliseconds makes a step many times as long if another program uses a core.
TEST_F(Threads, WaitBrieflyUnlessTheUserSaysOtherwise) {
  EXPECT_EQ(spin_count({}), "10000");
  EXPECT_EQ(spin_count({"GOMP_SPINCOUNT=7"}), "7");
  EXPECT_EQ(spin_count({"OMP_WAIT_POLICY=passive"}), "0");
}

}  // namespace
}  // namespace ddpm
