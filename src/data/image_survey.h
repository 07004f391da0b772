#pragma once

#include "catalogue.h"
#include "image_reader.h"

namespace ddpm::data {

/// What is known of the files of a source.
struct Survey {
  Catalogue catalogue;
  bool changed = true;  ///< is there more in it than in the index?
  bool own = false;     ///< has this process looked, and not another for it?
};

/// Lists the files and looks at those that the options' index does not know, in one process if
/// several share; the others compare the sizes of some files. What becomes of a damaged file,
/// options.bad_images says. Throws IoError.
Survey survey(const ImageReader& reader);

}  // namespace ddpm::data
