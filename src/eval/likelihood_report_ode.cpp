#include "ddpm/eval/likelihood_report.h"
#include "ddpm/io/file.h"

#include <cmath>
#include <vector>

#include <fmt/format.h>

namespace ddpm::eval {
std::string protocol_line(const LikelihoodSubject& s, const OdeOptions& options) {
  return fmt::format(
      "protocol: {} {} images of {}; {} ({} weights); {}{}; probability-flow ODE, {} timesteps of "
      "{}, {}; levels dequantised uniformly; {}; {} network calls per image; seed {}",
      s.images.size(), s.data.split, s.data.images->description(), s.path, s.weights_name,
      config::to_string(options.precision), options.deterministic ? ", deterministic" : "",
      options.times.size(), s.model.diffusion.schedule.timesteps, options.spacing,
      options.probes == 0
          ? "exact trace"
          : fmt::format("{} probe{} per timestep", options.probes, options.probes == 1 ? "" : "s"),
      2 * options.times.size() - 1, options.seed);
}

OdeLikelihood measure_ode_likelihood(const nn::UNet& unet, const LikelihoodSubject& s,
                                     const OdeOptions& options, const dist::World& world) {
  const diffusion::Diffusion diffusion(s.model.diffusion);
  const auto network =
      nn::make_labelled_denoiser(unet, diffusion, options.precision, nn::Gradients::kOfInput);
  const auto denoiser_of = [&](const torch::Tensor& labels, const torch::Tensor& x0,
                               const torch::Tensor& vectors) {
    return nn::with_labels(network, given_of(s.model.unet, labels, x0, vectors));
  };
  return measure_ode_likelihood(denoiser_of, diffusion, *s.data.images, s.images, options, world);
}

std::string to_text(const OdeLikelihood& found) {
  const std::string error =
      std::isnan(found.total.error) ? "unknown" : fmt::format("{:.4f}", found.total.error);
  return fmt::format(
      "-log2 p  {:>9.4f} +- {} bits/dim of dequantised levels, by the flow in {} timesteps\n"
      "  prior  {:>9.4f}\n"
      "  volume {:>9.4f}\n",
      found.total.value, error, found.points.size(), found.prior.value, found.volume.value);
}

void write_likelihood(const std::filesystem::path& folder, const OdeLikelihood& found) {
  io::write_file_atomic(folder / "ode_likelihood.csv", to_csv(found));
  io::write_file_atomic(folder / "ode_images.csv", images_to_csv(found));
}

}  // namespace ddpm::eval
