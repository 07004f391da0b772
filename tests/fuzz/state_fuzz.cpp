// A checkpoint's state.json: what is accepted is written so that it is accepted again, the same.
#include "ddpm/train/training_state.h"
#include "fuzz.h"

namespace ddpm::fuzz {

void run(Bytes bytes) {
  read([&] {
    const std::string text =
        train::to_json_text(train::parse_training_state("state.json", std::string(as_text(bytes))));
    require(train::to_json_text(train::parse_training_state("state.json", text)) == text);
  });
}

}  // namespace ddpm::fuzz
