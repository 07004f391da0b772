#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace ddpm::data {

/// Calls work(worker, i) for i = 0 .. count-1, in about this order, from `workers` threads (worker
/// = 0 .. workers-1); a progress line of this title and unit "image" is shown where it takes more
/// than a second. Where calls throw, what the one of lowest i threw is thrown, and the rest is
/// left.
void parallel_for(int64_t count, int64_t workers, const std::string& title,
                  const std::function<void(int64_t worker, int64_t i)>& work);

}  // namespace ddpm::data
