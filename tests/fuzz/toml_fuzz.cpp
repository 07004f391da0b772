// A config: what parses, and is read key by key, is written so that it reads back alike.
#include "fuzz.h"

#include "ddpm/config/document.h"
#include "ddpm/diffusion/diffusion_config.h"
#include "ddpm/sample/sample_config.h"

namespace ddpm::fuzz {
namespace {

std::string effective(std::string_view text) {
  config::Document document = config::Document::parse(text, "fuzz.toml");
  config::Reader diffusion = document.section("diffusion"), sample = document.section("sample");
  diffusion::read_diffusion_config(diffusion);
  sample::read_sample_config(sample);
  config::Reader reader = document.section("data");
  reader.text("path", "");
  reader.texts("names", {});
  reader.integer("size", 1, config::at_least(0));
  reader.real("share", 0.5, {0.0, 1.0});
  reader.boolean("flip", false);
  reader.reals("means", {}, config::positive());
  reader.integers("sides", {}, config::at_least(1));
  document.check_all_read();
  return document.effective();
}

}  // namespace

void run(Bytes bytes) {
  read([&] {
    const std::string once = effective(as_text(bytes));
    require(effective(once) == once);
  });
}

}  // namespace ddpm::fuzz
