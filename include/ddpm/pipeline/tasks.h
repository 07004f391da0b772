#pragma once

#include "ddpm/pipeline/sample_plan.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <torch/types.h>

namespace ddpm::pipeline {

/// Makes a plan of sampling one of variants of images (SDEdit, Meng 2022, Algorithm 1): the plan's
/// steps from t = strength T on, from the noised images. images: uint8 [n,C,H,W], used in turn.
/// `names`: theirs, for people. Throws UsageError if no step begins that low.
void edit_(SamplePlan& plan, const SampleOptions& options, const torch::Tensor& images,
           const std::string& names, double strength);

/// What the images of `ddpm restore` went through (exactly one operator), and how they are used.
struct RestoreInputs {
  std::optional<double> blur;         ///< the Gaussian's standard deviation in pixels
  std::optional<int64_t> downsample;  ///< each pixel is the mean of so many times so many
  bool grey = false;                  ///< each pixel is 0.299 R + 0.587 G + 0.114 B
  std::string mask;                   ///< pixels are missing where this image is light
  double scale = 1.0;                 ///< zeta of diffusion posterior sampling
};

/// Throws UsageError unless the inputs name exactly one operator.
void expect_one_operator(const RestoreInputs& inputs);

/// Makes a plan of sampling one of restoring (diffusion posterior sampling, sample::RestoreSampler).
/// Reads the files `images`, which are used in turn. Throws UsageError, also if the method remembers
/// former steps, or IoError.
void restore_(SamplePlan& plan, const SampleOptions& options,
              const std::vector<std::string>& images, const RestoreInputs& inputs);

/// What `ddpm inpaint` fills in.
struct InpaintInputs {
  torch::Tensor images;  ///< uint8 [n,C,H,W], used in turn
  torch::Tensor mask;    ///< bool [1,1,H,W], true where pixels are to be filled in
  std::string names;     ///< of both, for people
};

/// Makes a plan of sampling one of inpainting (sample::InpaintSampler). Does no work on the plan's
/// device. Throws UsageError if the method remembers former steps and there are several rounds.
void inpaint_(SamplePlan& plan, const SampleOptions& options, const InpaintInputs& inputs,
              int64_t rounds);

/// Where a way of `ddpm interpolate` begins or ends: the noise of an image.
struct NoiseEnd {
  std::optional<int64_t> seed;  ///< none: that of the plan, or a row of its noise file
  int64_t image = 0;
};

/// The ends that --between names: "3", or "5:3" for image 3 of seed 5. Throws UsageError, also if
/// there are fewer than two.
std::vector<NoiseEnd> noise_ends(const std::vector<std::string>& words);

/// The images of such a way: `frames` from one end to the next, both included.
int64_t images_of_way(size_t ends, int64_t frames);

/// Makes a plan of sampling one of images on the way between the noises, except for the noise itself.
/// Does no work on the plan's device. Throws UsageError.
void interpolate_(SamplePlan& plan, const SampleOptions& options, const std::vector<NoiseEnd>& ends,
                  int64_t frames);

/// That noise, x_T of each image of the way: [images_of_way,C,H,W] on the plan's device. The ends are
/// rows of the plan's noise file if it has one. Throws UsageError.
torch::Tensor noise_of_way(const SamplePlan& plan, const std::vector<NoiseEnd>& ends,
                           int64_t frames);

}  // namespace ddpm::pipeline
