#include "model_text.h"

namespace ddpm::exchange {
void parse_model_text(std::string_view text, const std::string& name, Model& model) {
  config::Document document = config::Document::parse(text, name);
  model.description = nn::read_model_description(document);
  config::Reader sample = document.section("sample");
  model.sample = sample::read_sample_config(sample);
  document.check_all_read();
}

}  // namespace ddpm::exchange
