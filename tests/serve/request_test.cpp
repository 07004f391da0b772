#include "src/serve/request.h"

#include "src/serve/base64.h"

#include <string>

#include <gtest/gtest.h>

namespace ddpm::serve {
namespace {

std::string refusal(const std::string& body, Wish wish = Wish::kSamples) {
  try {
    parse_request(body, wish, 64);
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
      Wish::kSamples, 64);
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
    const SampleRequest r = parse_request(body, Wish::kSamples, 2);
    EXPECT_FALSE(r.steps || r.method || r.eta || r.guidance);
    EXPECT_EQ(r.num, 2) << "no more than the limit";
  }
  EXPECT_EQ(parse_request(R"({"steps":5e1})", Wish::kSamples, 2).steps, 50)
      << "the same number in JSON";
}

// A class is the name in the JSON, whatever the flag --class makes of a comma.
TEST(Request, AClassNameIsOneClass) {
  EXPECT_EQ(parse_request(R"({"class":"a,b\\c"})", Wish::kSamples, 1).classes,
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

// RFC 4648, Section 10.
TEST(Base64, ReadsTheTestVectors) {
  const auto decoded = [](const std::string& text) {
    const auto bytes = from_base64(text);
    return bytes ? std::string(bytes->begin(), bytes->end()) : "none";
  };
  EXPECT_EQ(decoded(""), "");
  EXPECT_EQ(decoded("Zg=="), "f");
  EXPECT_EQ(decoded("Zm8="), "fo");
  EXPECT_EQ(decoded("Zm9v"), "foo");
  EXPECT_EQ(decoded("Zm9vYg=="), "foob");
  EXPECT_EQ(decoded("Zm9vYmE="), "fooba");
  EXPECT_EQ(decoded("Zm9vYmFy"), "foobar");
  EXPECT_EQ(decoded("+/+/"), "\xfb\xff\xbf");
  for (const char* wrong : {"Z", "Zg", "Zg=", "Zh==", "Zm9=", "Z===", "====", "Zm9v\n", "Zm 9",
                            "Zm=v", "-_-_", "data:image/png;base64,Zm9v", "Zm9\xff"})
    EXPECT_EQ(decoded(wrong), "none") << wrong;
}

TEST(Request, ReadsAWay) {
  const SampleRequest r = parse_request(
      R"({"between":[3,{"seed":5,"image":2},{"image":1}],"frames":4,"seed":7,"steps":2})",
      Wish::kInterpolation, 64);
  ASSERT_TRUE(r.interpolation);
  ASSERT_EQ(r.interpolation->between.size(), 3u);
  EXPECT_FALSE(r.interpolation->between[0].seed);
  EXPECT_EQ(r.interpolation->between[0].image, 3);
  EXPECT_EQ(r.interpolation->between[1].seed, 5);
  EXPECT_EQ(r.interpolation->between[1].image, 2);
  EXPECT_FALSE(r.interpolation->between[2].seed);
  EXPECT_EQ(r.interpolation->frames, 4);
  EXPECT_EQ(r.num, 7) << "4 from the first to the second, and 3 more to the third";
  EXPECT_EQ(r.seed, 7);
  EXPECT_EQ(parse_request(R"({"between":[0,1]})", Wish::kInterpolation, 64).num, 9);
  EXPECT_EQ(parse_request(R"({"between":[0,1]})", Wish::kInterpolation, 5).num, 5);
}

TEST(Request, AWayNamesItsEnds) {
  const auto refused = [](const std::string& body) { return refusal(body, Wish::kInterpolation); };
  EXPECT_EQ(refused("{}"), "between: missing; list two images or more, as [3, 17]");
  EXPECT_EQ(refused(R"({"between":[1]})").find("between: must list 2 to 100 images"), 0u);
  EXPECT_EQ(refused(R"({"between":5})").find("between: must list 2 to 100 images"), 0u);
  EXPECT_EQ(refused(R"({"between":[1,"2"]})"),
            "between: must be a whole number from 0 to 1099511627776, not \"2\"");
  EXPECT_EQ(refused(R"({"between":[1,{"seed":-1}]})").find("between.seed: must be"), 0u);
  EXPECT_EQ(refused(R"({"between":[1,{"sed":1}]})"),
            "between: an end is a number, or an object with seed and image only");
  EXPECT_EQ(refused(R"({"between":[1,2],"frames":1})"),
            "frames: must be a whole number from 2 to 64, not 1");
  EXPECT_EQ(refused(R"({"between":[1,2,3],"frames":40})"),
            "frames: 40 from each of 3 images to the next are 79 images; at most 64 at a time");
  EXPECT_EQ(refused(R"({"between":[1,2],"num":4})"), "\"num\": unknown key");
  EXPECT_EQ(refusal(R"({"between":[1,2]})").find("\"between\": unknown key"), 0u);
}

TEST(Request, ReadsAPictureAndItsMask) {
  const SampleRequest r =
      parse_request(R"({"image":"Zm9v","mask":"Zg==","rounds":3,"num":2})", Wish::kInpainting, 64);
  ASSERT_TRUE(r.inpainting);
  EXPECT_EQ(r.inpainting->image, (Png{'f', 'o', 'o'}));
  EXPECT_EQ(r.inpainting->mask, (Png{'f'}));
  EXPECT_EQ(r.inpainting->rounds, 3);
  EXPECT_EQ(r.num, 2);
  EXPECT_EQ(parse_request(R"({"condition":"Zg=="})", Wish::kSamples, 1).condition, (Png{'f'}));
}

TEST(Request, AVectorIsNumbersByNameOrInOrder) {
  const auto vector = [](const std::string& body) {
    return parse_request(body, Wish::kSamples, 1).vector.value_or("none");
  };
  EXPECT_EQ(vector(R"({"vector":{"age":-0.25,"smiling":1}})"), "age=-0.25,smiling=1");
  EXPECT_EQ(vector(R"({"vector":[3,0.1]})"), "3,0.1");
  EXPECT_EQ(vector("{}"), "none");
  for (const char* wrong : {"[]", "{}", "\"1\"", "[1,\"2\"]", "{\"a\":[1]}", "7"})
    EXPECT_EQ(refusal(std::string("{\"vector\":") + wrong + "}")
                  .find("vector: must be 1 to 1024 numbers, by name, as {\"age\": 0.3}"),
              0u)
        << wrong;
}

TEST(Request, APictureIsABase64Text) {
  const auto refused = [](const std::string& body) { return refusal(body, Wish::kInpainting); };
  EXPECT_EQ(refused(R"({"mask":"Zg=="})"),
            "image: missing; send the picture as a PNG or JPEG in base64");
  EXPECT_EQ(refused(R"({"image":"Zg=="})").find("mask: missing; "), 0u);
  EXPECT_EQ(refused(R"({"image":"Zg","mask":"Zg=="})"),
            "image: must be a PNG or JPEG in base64, as by base64 -w0 FILE, not \"Zg\"");
  EXPECT_EQ(refused(R"({"image":"Zg==","mask":""})").find("mask: must be a PNG"), 0u);
  EXPECT_EQ(refused(R"({"image":5,"mask":"Zg=="})").find("image: must be a PNG"), 0u);
  EXPECT_EQ(refused(R"({"image":"Zg==","mask":"Zg==","rounds":101})"),
            "rounds: must be a whole number from 1 to 100, not 101");
  EXPECT_EQ(refused(R"({"image":"Zg==","mask":"Zg==","frames":3})").find("\"frames\": unknown"),
            0u);
}

}  // namespace
}  // namespace ddpm::serve
