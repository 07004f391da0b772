#pragma once

#include "catalogue.h"
#include "image_reader.h"

namespace ddpm::data {

/// Known properties of the files of a source.
struct Survey {
  Catalogue catalogue;
  bool changed = true;  ///< whether it has more than the index
  bool own = false;     ///< whether this process read the files, not another one
};

/// Lists the files and checks those that the options' index does not know. If several processes
/// share, one does it and the others compare the sizes of some files. options.bad_images decides
/// about damaged files. Throws IoError.
Survey survey(const ImageReader& reader);

}  // namespace ddpm::data
