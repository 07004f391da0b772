// The JSON files of a diffusers folder.
#include "fuzz.h"

#include "ddpm/exchange/diffusers_config.h"

namespace ddpm::fuzz {

void run(Bytes bytes) {
  const std::string_view json = as_text(bytes);
  read([&] { exchange::parse_unet_config(json, "config.json"); });
  read([&] { exchange::parse_scheduler_config(json, "scheduler_config.json"); });
  read([&] { exchange::parse_class_names(json); });
}

}  // namespace ddpm::fuzz
