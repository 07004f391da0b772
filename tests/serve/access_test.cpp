#include "src/serve/access.h"

#include "ddpm/base/error.h"
#include "ddpm/serve/server.h"

#include <gtest/gtest.h>

namespace ddpm::serve {
namespace {

TEST(Access, KnowsThisMachinesAddresses) {
  for (const char* host : {"127.0.0.1", "127.1.2.3", "localhost", "LOCALHOST", "::1"})
    EXPECT_TRUE(is_loopback(host)) << host;
  for (const char* host : {"0.0.0.0", "::", "192.168.1.2", "localhost.evil.com", "127.0.0.1.nip.io",
                           "127.1", "", "::ffff:127.0.0.1"})
    EXPECT_FALSE(is_loopback(host)) << host;
}

TEST(Access, ReadsTheHostHeader) {
  EXPECT_EQ(host_of("127.0.0.1:8080"), "127.0.0.1");
  EXPECT_EQ(host_of("LocalHost"), "localhost");
  EXPECT_EQ(host_of("[::1]:8080"), "::1");
  for (const char* wrong : {"", "a:b", "[::1", "localhost:80:80", "localhost:1234567", "[::1]80"})
    EXPECT_EQ(host_of(wrong), "") << wrong;
}

// DNS rebinding: a page's own name leads to 127.0.0.1, and the browser sends that name.
TEST(Access, OnlyItsOwnNamesLeadToALoopbackServer) {
  EXPECT_TRUE(is_allowed_host("localhost:8080", "127.0.0.1"));
  EXPECT_TRUE(is_allowed_host("[::1]:8080", "localhost"));
  EXPECT_FALSE(is_allowed_host("evil.com:8080", "127.0.0.1"));
  EXPECT_FALSE(is_allowed_host("localhost.evil.com", "127.0.0.1"));
  EXPECT_FALSE(is_allowed_host("", "127.0.0.1"));
  EXPECT_TRUE(is_allowed_host("gpu-box:8080", "0.0.0.0")) << "there a token is needed";
}

TEST(Access, OnlyItsOwnPagesMaySend) {
  EXPECT_TRUE(is_own_origin("", "localhost:8080"));
  EXPECT_TRUE(is_own_origin("http://localhost:8080", "localhost:8080"));
  EXPECT_TRUE(is_own_origin("https://gpu", "gpu"));
  for (const char* other : {"null", "http://localhost", "http://localhost:8081", "http://evil.com",
                            "http://evil.com/localhost:8080", "file://"})
    EXPECT_FALSE(is_own_origin(other, "localhost:8080")) << other;
}

TEST(Access, FindsTheToken) {
  EXPECT_EQ(bearer_token("Bearer abc"), "abc");
  EXPECT_EQ(bearer_token("bearer abc"), "abc");
  EXPECT_EQ(bearer_token("Basic abc"), "");
  EXPECT_EQ(bearer_token(""), "");
  EXPECT_EQ(cookie("a=1; token=xyz; b=2", "token"), "xyz");
  EXPECT_EQ(cookie("my_token=no; token=xyz", "token"), "xyz");
  EXPECT_EQ(cookie("token", "token"), "");
  EXPECT_EQ(cookie("", "token"), "");
  EXPECT_TRUE(equal_secrets("abc", "abc"));
  EXPECT_FALSE(equal_secrets("abc", "abd"));
  EXPECT_FALSE(equal_secrets("", "abc"));
}

TEST(Access, AnotherAddressNeedsAToken) {
  EXPECT_THROW(Server({.host = "0.0.0.0"}, nullptr, ""), UsageError);
  EXPECT_THROW(Server({.host = "127.0.0.1", .token = "short"}, nullptr, ""), UsageError);
  EXPECT_THROW(Server({.host = "127.0.0.1", .token = "0123456789abcdef; x"}, nullptr, ""),
               UsageError);
  EXPECT_NO_THROW(Server({.host = "0.0.0.0", .token = "0123456789abcdef"}, nullptr, ""));
}

}  // namespace
}  // namespace ddpm::serve
