// A checkpoint's state.json: what is accepted is written so that it is accepted again, the same.
#include "ddpm/checkpoint/state.h"
#include "fuzz.h"

namespace ddpm::fuzz {

void run(Bytes bytes) {
  read([&] {
    const std::string text = checkpoint::to_json_text(
        checkpoint::parse_training_state("state.json", std::string(as_text(bytes))));
    require(checkpoint::to_json_text(checkpoint::parse_training_state("state.json", text)) == text);
  });
}

}  // namespace ddpm::fuzz
