#include "ddpm/dist/world.h"

#include "ddpm/base/error.h"
#include "ddpm/base/text.h"
#include "gpu_id.h"
#include "process_group.h"

#include <algorithm>
#include <exception>
#include <numeric>
#include <utility>

#include <fmt/format.h>
#include <torch/utils.h>

namespace ddpm::dist {
namespace {

std::string seconds(std::chrono::milliseconds timeout) {
  return fmt::format("{:g} s", static_cast<double>(timeout.count()) / 1000.0);
}

// Consecutive tensors of one dtype and at most `bytes` in total, or a single larger one. The same
// on every rank.
std::vector<std::vector<torch::Tensor>> buckets(const std::vector<torch::Tensor>& tensors,
                                                int64_t bytes) {
  std::vector<std::vector<torch::Tensor>> result;
  int64_t filled = 0;
  for (const torch::Tensor& t : tensors) {
    const auto size = static_cast<int64_t>(t.nbytes());
    const bool fits = !result.empty() && filled + size <= bytes &&
                      result.back().front().scalar_type() == t.scalar_type();
    if (!fits) {
      result.emplace_back();
      filled = 0;
    }
    result.back().push_back(t);
    filled += size;
  }
  return result;
}

// Applies `operation` to the elements of all tensors, concatenated to one dimension.
void as_one(const std::vector<torch::Tensor>& tensors,
            const std::function<void(const torch::Tensor&)>& operation) {
  const torch::NoGradGuard no_grad;
  std::vector<torch::Tensor> flattened;
  for (const torch::Tensor& t : tensors) flattened.push_back(t.detach().reshape({-1}));
  const torch::Tensor flat = torch::cat(flattened);
  operation(flat);
  int64_t begin = 0;
  for (const torch::Tensor& t : tensors) {
    t.detach().copy_(flat.narrow(0, begin, t.numel()).view(t.sizes()));
    begin += t.numel();
  }
}

// The numbers themselves, not a copy.
torch::Tensor as_tensor(std::vector<int64_t>& values) {
  return torch::from_blob(values.data(), {static_cast<int64_t>(values.size())}, torch::kLong);
}

}  // namespace

World::World() = default;
World::World(World&&) noexcept = default;
World::~World() = default;

World::World(const Launch& launch, const torch::Device& device, std::chrono::milliseconds timeout,
             const Identity& identity, OnLostRank on_lost_rank)
    : rank_(launch.rank),
      size_(launch.world_size),
      shrinks_(on_lost_rank == OnLostRank::kShrink),
      members_(static_cast<size_t>(launch.world_size)),
      timeout_(timeout) {
  std::iota(members_.begin(), members_.end(), int64_t{0});
  if (launch.single()) return;
  try {
    group_ = ProcessGroup::connect(launch, device, timeout, identity, shrinks_);
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {
    throw Error(fmt::format(
        "rank {} of {} waited up to {} to meet the others at {}:{}: {} (were all started, and can "
        "they reach that machine?)",
        rank_, size_, seconds(timeout), launch.master_addr, launch.master_port, first_line(error)));
  }
}

// What tells ranks apart that wait for different operations: "operation 1,234 of this rank, after:
// to compare flags, to sum tensors".
std::string World::position() const {
  std::string text = fmt::format("operation {} of this rank", with_commas(operations_));
  for (size_t i = 0; i + 1 < last_operations_.size(); ++i)
    text += fmt::format("{} {}", i == 0 ? ", after:" : ",", last_operations_[i]);
  return text;
}

void World::collectively(const char* what, const std::function<void()>& operation) const {
  constexpr size_t kRemembered = 5;
  ++operations_;
  last_operations_.push_back(what);
  if (last_operations_.size() > kRemembered) last_operations_.pop_front();
  try {
    operation();
  } catch (const std::exception& error) {
    give_up(what, error);
  }
}

void World::give_up(const char* what, const std::exception& error) const {
  group_->abandon();
  const std::string message = fmt::format(
      "rank {} of {} waited up to {} for the other ranks, {}: {} (another rank has ended or hangs; "
      "its own message says more; {})",
      rank_, size_, seconds(timeout_), what, first_line(error), position());
  if (shrinks_) throw RankLost(message);
  throw Error(message);
}

Regrouped World::regroup_(int64_t step) {
  TORCH_CHECK(group_ && shrinks_, "this world cannot shrink");
  Regrouped result;
  try {
    const std::vector<Survivor> survivors = group_->regroup(step);
    std::vector<int64_t> left;
    for (const Survivor& s : survivors) left.push_back(s.member);
    for (const int64_t member : members_) {
      if (std::find(left.begin(), left.end(), member) == left.end())
        result.lost.push_back(fmt::format("rank {} ({})", member, group_->process_of(member)));
    }
    const auto by_step = [](const Survivor& a, const Survivor& b) { return a.step < b.step; };
    const auto first = std::max_element(survivors.begin(), survivors.end(), by_step);
    result.step = first->step;
    result.from = first - survivors.begin();
    rank_ = std::find(left.begin(), left.end(), started_as()) - left.begin();
    size_ = std::ssize(left);
    members_ = std::move(left);
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {
    members_ = {started_as()};
    rank_ = 0;
    size_ = 1;
    group_.reset();
    throw NoAgreement(first_line(error));
  }
  if (size_ == 1) group_.reset();
  return result;
}

void World::broadcast_(const std::vector<torch::Tensor>& tensors, int64_t from) const {
  if (!group_ || tensors.empty()) return;
  constexpr int64_t kBucketBytes = int64_t{250} << 20;
  collectively("to have tensors of one of them", [&] {
    for (const auto& bucket : buckets(tensors, kBucketBytes))
      as_one(bucket, [&](const torch::Tensor& flat) { group_->broadcast_(flat, from); });
  });
}

void World::all_reduce_sum_(const std::vector<torch::Tensor>& tensors, int64_t bucket_bytes) const {
  if (!group_) return;
  collectively("to sum tensors", [&] {
    for (const auto& bucket : buckets(tensors, bucket_bytes))
      as_one(bucket, [&](const torch::Tensor& flat) { group_->sum_(flat); });
  });
}

std::vector<int64_t> World::all_reduce_max(std::vector<int64_t> values) const {
  if (!group_) return values;
  collectively("to compare flags", [&] { group_->max_(as_tensor(values)); });
  return values;
}

bool World::any(bool value) const { return all_reduce_max({value ? 1 : 0})[0] != 0; }

std::vector<int64_t> World::from_main(std::vector<int64_t> values) const {
  if (!group_) return values;
  collectively("to have rank 0's numbers", [&] { group_->broadcast_(as_tensor(values), 0); });
  return values;
}

void World::expect_same(const std::string& what, const std::string& value) const {
  if (!group_) return;
  std::vector<int64_t> bytes(static_cast<size_t>(from_main({std::ssize(value)})[0]));
  if (is_main()) std::copy(value.begin(), value.end(), bytes.begin());
  bytes = from_main(std::move(bytes));
  const std::string main(bytes.begin(), bytes.end());
  // The highest rank that differs reports both values; the others name that rank.
  const int64_t other = all_reduce_max({main == value ? -1 : rank_})[0];
  if (other < 0) return;
  if (rank_ == other) {
    throw UsageError(fmt::format(
        "rank {} has other {} than rank 0: \"{}\" here, \"{}\" on rank 0; start all processes "
        "with the same command and the same files",
        rank_, what, value, main));
  }
  throw UsageError(
      fmt::format("rank {} stops: rank {} has other {} than rank 0, as its own message "
                  "says",
                  rank_, other, what));
}

void World::expect_own_gpus() const {
  if (!group_) return;
  const std::array<int64_t, 2> own = gpu_id(group_->device());
  std::vector<int64_t> ids(static_cast<size_t>(2 * size_), 0);
  std::copy(own.begin(), own.end(), ids.begin() + 2 * rank_);
  all_reduce_sum_({as_tensor(ids)});
  for (int64_t a = 0; a < size_; ++a) {
    for (int64_t b = a + 1; b < size_; ++b) {
      const bool one = ids[2 * a] == ids[2 * b] && ids[2 * a + 1] == ids[2 * b + 1];
      if (!one || (ids[2 * a] == 0 && ids[2 * a + 1] == 0)) continue;  // 0: on the CPU
      throw UsageError(fmt::format(
          "ranks {} and {} of {} use the same GPU; start at most one process per GPU, or use "
          "--device cpu",
          a, b, size_));
    }
  }
}

void World::barrier() const {
  if (group_) collectively("at a barrier", [&] { group_->barrier(); });
}

void World::on_main(const std::string& what, const std::function<void()>& work) const {
  std::exception_ptr failure;
  if (is_main()) {
    try {
      work();
    } catch (...) {
      failure = std::current_exception();
    }
    if (failure && !group_) std::rethrow_exception(failure);
  }
  const bool failed = any(failure != nullptr);
  if (failure) std::rethrow_exception(failure);
  if (failed)
    throw Error(
        fmt::format("rank {} stops: rank 0 failed to {}, as its own message says", rank_, what));
}

const World& single_process() {
  static const World world;
  return world;
}

}  // namespace ddpm::dist
