#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace ddpm::data {

/// Calls work(worker, i) for i = 0 .. count-1, roughly in this order, from `workers` threads
/// (worker = 0 .. workers-1). Shows a progress line with this title after one second. If calls
/// throw, stops and rethrows the exception of the lowest i.
void parallel_for(int64_t count, int64_t workers, const std::string& title,
                  const std::function<void(int64_t worker, int64_t i)>& work);

}  // namespace ddpm::data
