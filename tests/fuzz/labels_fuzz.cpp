// A list of labels: a table, JSON lines, and the dataset.json of EDM and StyleGAN.
#include "fuzz.h"

#include "src/data/label_file.h"

#include <string>

namespace ddpm::fuzz {

void run(Bytes bytes) {
  const std::string text(as_text(bytes));
  read([&] { data::parse_label_table(text, "labels.csv"); });
  read([&] { data::parse_label_lines(text, "metadata.jsonl"); });
  read([&] { data::parse_dataset_json(text, "dataset.json"); });
}

}  // namespace ddpm::fuzz
