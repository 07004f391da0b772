#include "src/serve/request.h"

#include <string>

#include <gtest/gtest.h>

namespace ddpm::serve {
namespace {

std::string refusal(const std::string& body) {
  try {
    parse_request(body, 64);
  } catch (const Refused& refused) {
    EXPECT_EQ(refused.status(), 400);
    return refused.what();
  }
  return "accepted";
}

TEST(Request, ReadsEveryKey) {
  const SampleRequest r = parse_request(
      R"({"method":"ddim","steps":50,"eta":0.25,"sigma":"small","spacing":"trailing","guidance":2,
          "class":["cat",3],"seed":7,"num":5,"previews":0})",
      64);
  EXPECT_EQ(r.method, "ddim");
  EXPECT_EQ(r.steps, 50);
  EXPECT_EQ(r.eta, 0.25);
  EXPECT_EQ(r.sigma, "small");
  EXPECT_EQ(r.spacing, "trailing");
  EXPECT_EQ(r.guidance, 2.0);
  EXPECT_EQ(r.classes, (std::vector<std::string>{"cat", "#3"}));
  EXPECT_EQ(r.seed, 7);
  EXPECT_EQ(r.num, 5);
  EXPECT_EQ(r.previews, 0);
}

TEST(Request, LeavesTheRestToTheCheckpoint) {
  for (const char* body : {"{}", R"({"steps":null})"}) {
    const SampleRequest r = parse_request(body, 2);
    EXPECT_FALSE(r.steps || r.method || r.eta || r.guidance);
    EXPECT_EQ(r.num, 2) << "no more than the limit";
  }
  EXPECT_EQ(parse_request(R"({"steps":5e1})", 2).steps, 50) << "the same number in JSON";
}

// A class is the name in the JSON, whatever the flag --class makes of a comma.
TEST(Request, AClassNameIsOneClass) {
  EXPECT_EQ(parse_request(R"({"class":"a,b\\c"})", 1).classes,
            std::vector<std::string>{"a\\,b\\\\c"});
}

TEST(Request, NamesTheKeyAndWhatWouldBeRight) {
  EXPECT_EQ(refusal(R"({"num":65})"), "num: must be a whole number from 1 to 64, not 65");
  EXPECT_EQ(refusal(R"({"num":0})"), "num: must be a whole number from 1 to 64, not 0");
  EXPECT_EQ(refusal(R"({"seed":-1})"),
            "seed: must be a whole number from 0 to 9007199254740992, not -1");
  EXPECT_EQ(refusal(R"({"steps":2.5})"), "steps: must be a whole number from 1 to 100000, not 2.5");
  EXPECT_EQ(refusal(R"({"eta":"1"})"), "eta: must be a number from 0 to 1, not \"1\"");
  EXPECT_EQ(refusal(R"({"step":5})"), "\"step\": unknown key; did you mean steps?");
  EXPECT_EQ(refusal(R"({"method":5})"), "method: must be a name, not 5");
  EXPECT_EQ(refusal(R"({"class":[]})"), "class: must name 1 to 1000 classes, not 0");
}

TEST(Request, RefusesWhatIsNoRequest) {
  for (const char* body :
       {"", "5", "[]", "null", "{", "{\"seed\":1}x", "\xff", "{\"\xff\":1}", R"({"seed":1e999})",
        R"({"seed":18446744073709551615})", R"({"seed":99999999999999999999})", R"({"eta":-0.1})",
        R"({"class":{"a":1}})", R"({"class":true})", R"({"num":"4"})"}) {
    const std::string message = refusal(body);
    EXPECT_NE(message, "accepted") << body;
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
  }
  EXPECT_EQ(refusal(std::string(10000, '[')), "the body is nested too deeply");
}

}  // namespace
}  // namespace ddpm::serve
