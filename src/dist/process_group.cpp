#include "process_group.h"

#include "ddpm/base/error.h"
#include "ddpm/base/host.h"
#include "ddpm/dist/gradient_reducer.h"
#include "ddpm/dist/launch.h"
#include "rendezvous.h"
#include "sockets.h"

#include <algorithm>
#include <cstdlib>
#include <functional>

#include <c10/util/Logging.h>
#include <fmt/format.h>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#include <torch/csrc/distributed/c10d/comm.hpp>
#include <torch/csrc/distributed/c10d/reducer.hpp>
#ifdef USE_C10D_NCCL
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>
#endif
#include <unistd.h>

namespace ddpm::dist {
namespace {

using Milliseconds = std::chrono::milliseconds;
using Backend = c10::intrusive_ptr<c10d::Backend>;
using Store = c10::intrusive_ptr<c10d::Store>;

bool is_loopback(const std::string& host) {
  return host == "localhost" || host == "::1" || host.starts_with("127.");
}

// Adapts c10d's store to rendezvous.h.
class StoreBoard : public Board {
 public:
  explicit StoreBoard(Store store) : store_(std::move(store)) {}
  void set(const std::string& key, const std::string& text) override {
    store_->set(key, std::vector<uint8_t>(text.begin(), text.end()));
  }
  bool has(const std::string& key) override { return store_->check({key}); }
  std::string get(const std::string& key, Milliseconds patience) override {
    store_->wait({key}, patience);
    const std::vector<uint8_t> bytes = store_->get(key);
    return {bytes.begin(), bytes.end()};
  }
  int64_t add(const std::string& key, int64_t amount) override { return store_->add(key, amount); }
  void propose(const std::string& key, const std::string& text) override {
    store_->compareSet(key, {}, std::vector<uint8_t>(text.begin(), text.end()));
  }

 private:
  Store store_;
};

// `serves`: this process holds the store, if torchrun does not.
Store make_store(const Launch& launch, Milliseconds timeout, bool serves) {
  c10d::TCPStoreOptions options;
  options.port = static_cast<uint16_t>(launch.master_port);
  options.isServer = serves && !launch.agent_store;
  options.numWorkers = static_cast<size_t>(launch.world_size);
  options.waitWorkers = false;
  options.timeout = timeout;
  std::string host = launch.master_addr;
  const bool only_this_machine = is_loopback(host);
  if (only_this_machine) host = "127.0.0.1";
  if (options.isServer)
    options.masterListenFd = listening_at(launch.master_port, only_this_machine);
  auto store = c10::make_intrusive<c10d::TCPStore>(host, options);
  store->setTimeout(timeout);
  // Separate names for each restart: torchrun's store outlives the processes.
  return c10::make_intrusive<c10d::PrefixStore>(fmt::format("ddpm/{}", launch.restart_count),
                                                store);
}

// `name`: of the group in the store.
Backend make_gloo(const Launch& launch, const Store& store, const std::string& name,
                  Milliseconds timeout) {
  using Gloo = c10d::ProcessGroupGloo;
  const auto options = Gloo::Options::create(timeout);
  const char* interface = std::getenv("GLOO_SOCKET_IFNAME");
  options->devices.push_back(
      interface != nullptr && *interface != '\0' ? Gloo::createDeviceForInterface(interface)
      : is_loopback(launch.master_addr)          ? Gloo::createDeviceForHostname("127.0.0.1")
                                                 : Gloo::createDefaultDevice());
  return c10::make_intrusive<Gloo>(c10::make_intrusive<c10d::PrefixStore>(name, store),
                                   static_cast<int>(launch.rank),
                                   static_cast<int>(launch.world_size), options);
}

// nullptr: this build has no NCCL.
Backend make_nccl([[maybe_unused]] const Launch& launch, [[maybe_unused]] const Store& store,
                  [[maybe_unused]] Milliseconds timeout) {
#ifdef USE_C10D_NCCL
  const auto options = c10d::ProcessGroupNCCL::Options::create();
  options->timeout = timeout;
  return c10::make_intrusive<c10d::ProcessGroupNCCL>(
      c10::make_intrusive<c10d::PrefixStore>("nccl", store), static_cast<int>(launch.rank),
      static_cast<int>(launch.world_size), options);
#else
  return {};
#endif
}

// While alive, c10d does not print the exceptions that it throws, with stack traces.
class QuietLog {
 public:
  QuietLog() { FLAGS_caffe2_log_level = c10::GLOG_FATAL; }
  ~QuietLog() { FLAGS_caffe2_log_level = former_; }

 private:
  const int former_ = FLAGS_caffe2_log_level;
};

// c10d::Reducer rebuilds its buckets after the first backward pass. Told that it has already done
// so, it keeps the given ones.
class FixedBuckets : public c10d::Reducer {
 public:
  FixedBuckets(const std::vector<at::Tensor>& parameters,
               std::vector<std::vector<size_t>> bucket_indices,
               const c10::intrusive_ptr<c10d::ProcessGroup>& group, int64_t bucket_bytes)
      : Reducer(parameters, std::move(bucket_indices), group,
                std::vector<bool>(parameters.size(), false), bucket_bytes,
                /*find_unused_parameters=*/false, /*gradient_as_bucket_view=*/false, {},
                bucket_bytes, /*skip_all_reduce_unused_params=*/false,
                /*use_python_reducer=*/false, {}) {
    has_rebuilt_bucket_ = true;
  }
};

// Sums a bucket. Without a hook c10d::Reducer would divide by the number of ranks.
class SumHook : public c10d::CppCommHookInterface<c10::intrusive_ptr<c10d::ProcessGroup>> {
 public:
  using CppCommHookInterface::CppCommHookInterface;
  c10::intrusive_ptr<c10::ivalue::Future> runHook(c10d::GradBucket& bucket) override {
    std::vector<at::Tensor> tensors{bucket.getBufferRef()};
    return state_->allreduce(tensors)->getFuture();
  }
};

class ReducerSum : public OverlappedSum {
 public:
  ReducerSum(const std::vector<at::Tensor>& parameters,
             const c10::intrusive_ptr<c10d::ProcessGroup>& group, int64_t bucket_bytes)
      : reducer_(std::make_unique<FixedBuckets>(
            parameters, buckets_from_the_end(parameters, bucket_bytes), group, bucket_bytes)) {
    reducer_->register_comm_hook(std::make_unique<SumHook>(group));
  }
  void expect() override {
    reducer_->prepare_for_forward();
    reducer_->prepare_for_backward({});
  }

  bool is_of_connection(const std::exception& error) const override {
    return dynamic_cast<const c10::DistError*>(&error) != nullptr ||
           (dynamic_cast<const c10::Error*>(&error) == nullptr &&
            dynamic_cast<const Error*>(&error) == nullptr);
  }

 private:
  // Gradients become ready roughly in reverse order of the parameters.
  static std::vector<std::vector<size_t>> buckets_from_the_end(
      const std::vector<at::Tensor>& parameters, int64_t bucket_bytes) {
    const std::vector<at::Tensor> reversed(parameters.rbegin(), parameters.rend());
    auto [buckets, limits] = c10d::compute_bucket_assignment_by_size(
        reversed, {static_cast<size_t>(std::min(kFirstBucketBytes, bucket_bytes)),
                   static_cast<size_t>(bucket_bytes)});
    for (auto& bucket : buckets) {
      for (size_t& index : bucket) index = parameters.size() - 1 - index;
    }
    return buckets;
  }

  std::unique_ptr<FixedBuckets> reducer_;
};

// The connections of `work` to the store, or (`to_store` false) those to other processes.
std::vector<Connection> connections_of(const Launch& launch, bool to_store,
                                       const std::function<void()>& work) {
  const std::vector<Connection> before = connections();
  work();
  std::vector<Connection> made = added(connections(), before);
  std::erase_if(made, [&](const Connection& c) {  // what the store accepted meanwhile has its port
    const bool of_store = c.peer_port == launch.master_port;
    return c.own_port == launch.master_port || of_store != to_store;
  });
  return made;
}

class C10dGroup : public ProcessGroup {
 public:
  C10dGroup(const Launch& launch, const torch::Device& device, Milliseconds timeout,
            const Identity& identity, bool survives)
      : launch_(launch), timeout_(timeout), device_(device), member_(launch.rank) {
    std::vector<Connection> to_store =
        connections_of(launch, true, [&] { store_ = make_store(launch, timeout, member_ == 0); });
    if (survives) begin_to_beat();
    StoreBoard board(c10::make_intrusive<c10d::PrefixStore>("meet", store_));
    meet(board, launch, identity, timeout);
    if (survives) limit_waits(to_store, kPatience);
    connect_gloo("gloo", timeout, survives);
    if (device.is_cuda()) nccl_ = make_nccl(launch, store_, timeout);
    for (int64_t rank = 0; rank < launch.world_size; ++rank) members_.push_back(rank);
  }

  void broadcast_(torch::Tensor flat, int64_t from) override {
    c10d::BroadcastOptions options;
    options.rootRank = from;
    run(flat, [&](Backend& backend, std::vector<at::Tensor>& tensors) {
      return backend->broadcast(tensors, options);
    });
  }

  void sum_(torch::Tensor flat) override { all_reduce_(flat, c10d::ReduceOp::SUM); }
  void max_(torch::Tensor flat) override { all_reduce_(flat, c10d::ReduceOp::MAX); }
  void barrier() override { gloo_->barrier()->wait(); }

  std::unique_ptr<OverlappedSum> overlapped_sum(const std::vector<torch::Tensor>& parameters,
                                                int64_t bucket_bytes) override {
    const bool on_gpu = parameters.front().is_cuda();
    if (on_gpu && !nccl_) return nullptr;
    const auto group =
        c10::make_intrusive<c10d::ProcessGroup>(store_, gloo_->getRank(), gloo_->getSize());
    using Kind = c10d::ProcessGroup::BackendType;
    group->setBackend(c10::DeviceType::CPU, Kind::GLOO, gloo_);
    if (nccl_) group->setBackend(c10::DeviceType::CUDA, Kind::NCCL, nccl_);
    group->setDefaultBackend(on_gpu ? Kind::NCCL : Kind::GLOO);
    group->setGroupName("gradients");
    return std::make_unique<ReducerSum>(parameters, group, bucket_bytes);
  }

  torch::Device device() const override { return device_; }

  void abandon() noexcept override {
    cut(gloo_connections_);
    try {
      if (nccl_) nccl_->abort();
    } catch (const std::exception&) {  // already broken
    }
  }

  std::vector<Survivor> regroup(int64_t step) override {
    const QuietLog quiet;
    for (;;) {
      StoreBoard board = survivors_board();
      const auto survivors = agree_on_survivors(board, ++generation_, members_, {member_, step},
                                                {.absence = timeout_});
      members_.clear();
      for (const Survivor& s : survivors) members_.push_back(s.member);
      if (members_.size() == 1 || form()) return survivors;
    }
  }

  std::string process_of(int64_t member) override {
    return survivors_board().get(fmt::format("who/{}", member), kPatience);
  }

 private:
  // The store answers at once, and so does the system of a machine whose process is busy.
  static constexpr std::chrono::seconds kPatience{30};
  // All of a new group come at the same time.
  static constexpr std::chrono::seconds kForming{15};

  StoreBoard survivors_board() const {
    return StoreBoard(c10::make_intrusive<c10d::PrefixStore>("survivors", store_));
  }

  // Through a store of its own: the other one may wait for a key.
  void begin_to_beat() {
    Store store;
    const auto made =
        connections_of(launch_, true, [&] { store = make_store(launch_, timeout_, false); });
    limit_waits(made, kPatience);
    survivors_board().set(fmt::format("who/{}", member_),
                          fmt::format("{}:{}", host_name(), ::getpid()));
    heartbeat_ = std::make_unique<Heartbeat>(
        std::make_unique<StoreBoard>(c10::make_intrusive<c10d::PrefixStore>("survivors", store)),
        member_, [made] { cut(made); });
  }

  void connect_gloo(const std::string& name, Milliseconds timeout, bool survives) {
    if (!survives) {
      gloo_ = make_gloo(launch_, store_, name, timeout);
      return;
    }
    gloo_connections_ =
        connections_of(launch_, false, [&] { gloo_ = make_gloo(launch_, store_, name, timeout); });
    watch(gloo_connections_, kPatience);
  }

  // Connects the members. False if another one is lost meanwhile.
  bool form() {
    const auto own = std::find(members_.begin(), members_.end(), member_);
    launch_.rank = own - members_.begin();
    launch_.world_size = std::ssize(members_);
    try {
      store_->setTimeout(kForming);
      connect_gloo(fmt::format("gloo/{}", generation_), kForming, true);
      gloo_->barrier()->wait();
      gloo_->setTimeout(timeout_);
      store_->setTimeout(timeout_);
      return true;
    } catch (const std::exception&) {
      abandon();
      return false;
    }
  }

  void all_reduce_(const torch::Tensor& flat, c10d::ReduceOp::RedOpType operation) {
    run(flat, [&](Backend& backend, std::vector<at::Tensor>& tensors) {
      c10d::AllreduceOptions options;
      options.reduceOp = operation;
      return backend->allreduce(tensors, options);
    });
  }

  // On CUDA without NCCL, data is copied through the CPU.
  template <typename Operation>
  void run(torch::Tensor flat, const Operation& operation) {
    if (flat.is_cuda() && nccl_) {
      std::vector<at::Tensor> tensors{flat};
      operation(nccl_, tensors)->wait();  // the stream waits, not the CPU
      return;
    }
    std::vector<at::Tensor> tensors{flat.is_cpu() ? flat : flat.cpu()};
    operation(gloo_, tensors)->wait();
    if (!flat.is_cpu()) flat.copy_(tensors[0]);
  }

  Launch launch_;  // rank and world_size are those of today's group
  Milliseconds timeout_;
  torch::Device device_;
  int64_t member_;  // rank at the start
  Store store_;
  Backend gloo_;
  std::vector<Connection> gloo_connections_;  // to be cut by abandon; none if a loss ends all
  Backend nccl_;
  std::vector<int64_t> members_;  // by rank
  int64_t generation_ = 0;        // agreements so far
  std::unique_ptr<Heartbeat> heartbeat_;
};

}  // namespace

std::unique_ptr<ProcessGroup> ProcessGroup::connect(const Launch& launch,
                                                    const torch::Device& device,
                                                    std::chrono::milliseconds timeout,
                                                    const Identity& identity, bool survives) {
  const QuietLog quiet;
  return std::make_unique<C10dGroup>(launch, device, timeout, identity, survives);
}

std::string port_problem(int port, bool only_this_machine) {
  try {
    ::close(listening_at(port, only_this_machine));
    return "";
  } catch (const Error& error) {
    return error.what();
  }
}

std::string nccl_version() {
#ifdef USE_C10D_NCCL
  const std::string version = c10d::getNcclVersion();
  return version.substr(version.find_first_not_of('v'));
#else
  return "";
#endif
}

}  // namespace ddpm::dist
