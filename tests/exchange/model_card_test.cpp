#include "ddpm/exchange/write.h"
#include "ddpm/io/file.h"
#include "tests/io/temporary_folder.h"

#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace ddpm::exchange {
namespace {

Model small_model(const std::vector<std::string>& classes = {}) {
  Model model;
  nn::UNetConfig& c = model.description.unet;
  c.image = {.channels = 3, .height = 8, .width = 8};
  c.channels = 8;
  c.channel_multipliers = {1, 2};
  c.blocks = 1;
  c.groups = 4;
  c.attention_resolutions = {4};
  if (!classes.empty()) {
    c.class_conditional = true;
    c.image.classes = static_cast<int64_t>(classes.size());
    model.description.class_names = classes;
  }
  model.weights_name = "ema";
  nn::UNet unet(c);
  model.weights = nn::named_weights(*unet);
  return model;
}

// The lines between the first two lines of "---". A strict reader of the part of YAML that a card
// uses: comments, "key: word", "key: JSON string", "key:" before "- word".
nlohmann::json front_matter_of(const std::string& card) {
  std::istringstream lines(card);
  std::string line, list;
  std::getline(lines, line);
  EXPECT_EQ(line, "---");
  nlohmann::json found;
  while (std::getline(lines, line) && line != "---") {
    if (line.starts_with("#")) continue;
    if (line.starts_with("- ")) {
      EXPECT_NE(list, "") << line;
      found[list].push_back(line.substr(2));
      continue;
    }
    const size_t colon = line.find(':');
    EXPECT_NE(colon, std::string::npos) << line;
    const std::string key = line.substr(0, colon);
    EXPECT_EQ(key.find_first_not_of("abcdefghijklmnopqrstuvwxyz_"), std::string::npos) << line;
    EXPECT_FALSE(found.contains(key)) << line;
    list = colon + 1 == line.size() ? key : "";
    if (!list.empty()) continue;
    const std::string value = line.substr(colon + 2);
    found[key] = value.starts_with('"') ? nlohmann::json::parse(value) : nlohmann::json(value);
    if (!value.starts_with('"')) {
      EXPECT_EQ(value.find_first_not_of("abcdefghijklmnopqrstuvwxyz-"), std::string::npos) << line;
    }
  }
  EXPECT_EQ(line, "---") << "the front matter ends";
  return found;
}

TEST(ModelCard, FrontMatterLeavesTheLicenseToTheUser) {
  const std::string card = model_card(small_model(), {.name = "mine"});
  const auto front = front_matter_of(card);
  EXPECT_EQ(front.at("library_name"), "diffusers");
  EXPECT_EQ(front.at("pipeline_tag"), "unconditional-image-generation");
  EXPECT_EQ(front.at("model_name"), "mine");
  EXPECT_EQ(front.at("tags").at(0), "diffusers");
  EXPECT_FALSE(front.contains("license"));
  EXPECT_NE(card.find("\n# license: "), std::string::npos);
}

TEST(ModelCard, OddNamesStayOneStringInYamlAndPlainTextInMarkdown) {
  const std::string odd = "a: \"b\"\n---\n# <b>x</b> [y](z) | `c` \\ *d*";
  const std::string card = model_card(small_model({odd, "cat"}), {.name = odd});
  EXPECT_EQ(front_matter_of(card).at("model_name"), odd);
  const std::string body = card.substr(card.find("\n---\n") + 5);
  EXPECT_EQ(body.find("\n---\n"), std::string::npos);
  EXPECT_EQ(body.find("<b>"), std::string::npos);
  EXPECT_EQ(body.find("[y](z)"), std::string::npos);
  EXPECT_NE(body.find("\\[y\\]\\(z\\) \\| \\`c\\` \\\\ \\*d\\*"), std::string::npos) << body;
  // A row of a table stays one line.
  std::istringstream lines(body);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("| classes")) {
      EXPECT_TRUE(line.ends_with("1 cat |")) << line;
    }
  }
}

TEST(ModelCard, BytesThatAreNotUtf8BecomeUtf8) {
  const std::string card = model_card(small_model(), {.name = "caf\xE9"});
  EXPECT_EQ(card.find('\xE9'), std::string::npos);
  EXPECT_NO_THROW(front_matter_of(card));
}

TEST(MarkdownText, EscapesPunctuationAndJoinsLines) {
  EXPECT_EQ(markdown_text("a_b"), "a\\_b");
  EXPECT_EQ(markdown_text("1. x\n- y"), "1\\. x \\- y");
  EXPECT_EQ(markdown_text("<&>"), "&lt;&amp;\\>");
  EXPECT_EQ(markdown_text("caf\xC3\xA9"), "caf\xC3\xA9");
}

TEST(ModelCard, SaysWhatTheNetworkIs) {
  const Model model = small_model();
  int64_t parameters = 0;
  for (const io::NamedTensor& weight : model.weights) parameters += weight.tensor.numel();
  const std::string card = model_card(model, {.name = "mine"});
  for (const std::string& text :
       {std::string("| images | 8x8 pixels, 3 channels |"), std::string("linear, T = 1000"),
        std::string("| prediction | eps |"), std::string("DDPMPipeline.from_pretrained"),
        std::string("ddpm sample --ckpt FOLDER")})
    EXPECT_NE(card.find(text), std::string::npos) << text << " in\n" << card;
  EXPECT_NE(card.find(fmt::format("{},{:03} parameters", parameters / 1000, parameters % 1000)),
            std::string::npos)
      << card;
  EXPECT_EQ(card.find("## Training"), std::string::npos) << "not of a checkpoint";
  EXPECT_EQ(card.find("samples.png"), std::string::npos);
  EXPECT_EQ(card.find("## Evaluation"), std::string::npos);
}

TEST(ModelCard, ResultsCannotEndTheirBlock) {
  const std::string card =
      model_card(small_model(), {.name = "mine", .evaluation = "FID 3\n```\n# not a heading\n"});
  EXPECT_NE(card.find("    FID 3\n    ```\n    # not a heading\n"), std::string::npos) << card;
}

TEST(ModelCard, ADiffusersFolderHasOneNamedAfterIt) {
  const TemporaryFolder folder;
  io::write_file_synced(folder / "grid.png", "picture");
  save(small_model(), folder / "my model", Format::kDiffusers, {.grid = folder / "grid.png"});
  const std::string card = io::read_text(folder / "my model" / "README.md");
  EXPECT_EQ(front_matter_of(card).at("model_name"), "my model");
  EXPECT_NE(card.find("![samples](samples.png)"), std::string::npos);
  EXPECT_EQ(io::read_text(folder / "my model" / "samples.png"), "picture");
  EXPECT_THROW(save(small_model(), folder / "my model", Format::kDiffusers), IoError);
  EXPECT_EQ(io::read_text(folder / "my model" / "README.md"), card) << "never overwritten";
}

}  // namespace
}  // namespace ddpm::exchange
