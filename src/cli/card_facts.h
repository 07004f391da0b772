#pragma once

#include "ddpm/exchange/write.h"

namespace ddpm::cli {

/// What the run of the network knows for its model card: a grid of samples of these weights, and
/// measurements of them. A file that cannot be read costs a warning. Empty if there is no run.
exchange::CardFacts card_facts(const exchange::Model& model);

}  // namespace ddpm::cli
