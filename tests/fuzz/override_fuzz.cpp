// The text behind --set.
#include "fuzz.h"

#include "ddpm/config/document.h"

namespace ddpm::fuzz {

void run(Bytes bytes) {
  read([&] {
    config::Document document = config::Document::parse("[data]\npath = \"here\"\n", "fuzz.toml");
    document.set(as_text(bytes));
    document.section("data").text("path", "");
    document.effective();
    document.check_all_read();
  });
}

}  // namespace ddpm::fuzz
