#pragma once

// The precompiled header of every target. Not <torch/torch.h>: GCC repeats the pending instantiations
// of this header in every file (10 s in place of 3 s), and every file waits until it is compiled.

#include <fmt/format.h>
#include <torch/cuda.h>
#include <torch/types.h>
#include <torch/utils.h>

// In fmt's library, but not declared so (fmt 9): each file with a message in the log would compile the
// whole formatter again, 4 s.
#if FMT_VERSION / 10000 == 9 && !defined(FMT_HEADER_ONLY)
extern template void fmt::detail::vformat_to<char>(
    fmt::detail::buffer<char>&, fmt::string_view, fmt::basic_format_args<fmt::buffer_context<char>>,
    fmt::detail::locale_ref);
#endif
