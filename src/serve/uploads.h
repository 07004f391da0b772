#pragma once

#include "ddpm/nn/unet.h"
#include "ddpm/serve/painter.h"

#include <string>

#include <torch/types.h>

// The pictures that clients of the server send.

namespace ddpm::serve {

/// A picture, and the file that a note names: the same pixels, in a PNG whose name holds their
/// checksum.
struct Upload {
  torch::Tensor pixels;  ///< uint8 [C,H,W]; of a mask bool [1,1,H,W]
  TaskInput file;
};

/// The picture of `key`. Throws UsageError, which names the key, if it is no whole PNG or JPEG, has
/// another size than `wanted` are, or has colours and they are grey.
Upload uploaded_picture(const Png& bytes, const std::string& key, const nn::ImageSpec& spec,
                        const std::string& wanted);

/// The mask of `key`. Throws UsageError as above, and if it is light or dark everywhere.
Upload uploaded_mask(const Png& bytes, const std::string& key, const nn::ImageSpec& spec);

}  // namespace ddpm::serve
