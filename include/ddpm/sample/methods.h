#pragma once

#include "ddpm/diffusion/schedule.h"
#include "ddpm/sample/sample_config.h"
#include "ddpm/sample/sampler.h"

#include <memory>
#include <optional>
#include <span>
#include <string>

namespace ddpm::sample {

/// A sampling method: a row of the only list of them (src/sample/methods.cpp).
struct MethodEntry {
  const char* name;  ///< in a config and for --method
  const char* help;  ///< a few words with the source
  std::unique_ptr<Sampler> (*make)(const SampleConfig& config, const diffusion::Schedule& schedule);
  /// The first setting that the method does not allow, if any.
  std::optional<Conflict> (*check)(const SampleConfig& config);
  int64_t max_order;  ///< of SampleConfig::order, and its usual value; 0: the method has none
  /// The jumps that need exactly so many network calls: fewer if a jump may need two.
  int64_t (*jumps)(int64_t calls, const diffusion::Schedule& schedule);
  /// The noise of a step for people, as "eta 0.5" or "sigma small".
  std::string (*describe_noise)(const SampleConfig& config);
  bool remembers;  ///< its sampler needs estimates of former steps
};

std::span<const MethodEntry> methods();
/// c10::Error if no method has that name.
const MethodEntry& method_named(const std::string& name);

/// The order that config.method has: config.order, or the largest.
int64_t order_of(const SampleConfig& config);
/// The network calls that the config asks for: config.steps, or all T.
int64_t calls_of(const SampleConfig& config, const diffusion::Schedule& schedule);

/// A sampler of config.method for one batch.
std::unique_ptr<Sampler> make_sampler(const SampleConfig& config,
                                      const diffusion::Schedule& schedule);

/// "ddim, 50 steps, eta 0, ...": how images are sampled, for people.
std::string describe(const SampleConfig& config);
/// ", guidance 2 where 0.3 < sigma <= 5"; "" without guidance.
std::string describe_guidance(const diffusion::Guidance& guidance);
/// The part of it that a likelihood depends on too.
std::string describe_spacing(const SampleConfig& config);

}  // namespace ddpm::sample
