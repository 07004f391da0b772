#include "process_group.h"

#include "ddpm/base/error.h"
#include "ddpm/dist/connection.h"
#include "ddpm/dist/gradient_reducer.h"
#include "rendezvous.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <optional>
#include <system_error>

#include <arpa/inet.h>
#include <c10/util/Logging.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>
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

// Listens only on `address`. Returns -1 and sets errno on failure.
template <class Address>
int listening_socket(const Address& address, int family) {
  const int fd = ::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  const int yes = 1, no = 0;
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  if (family == AF_INET6) ::setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof no);
  // Also listens: if two processes only bind, both succeed.
  if (::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 &&
      ::listen(fd, SOMAXCONN) == 0)
    return fd;
  const int error = errno;
  ::close(fd);
  errno = error;
  return -1;
}

// The socket of rank 0's store. TCPStore's own would listen on every interface, even if all
// processes are on one machine, and would report a port in use in many lines.
int store_socket(int port, bool only_this_machine) {
  sockaddr_in v4{};
  v4.sin_family = AF_INET;
  v4.sin_port = htons(static_cast<uint16_t>(port));
  v4.sin_addr.s_addr = htonl(only_this_machine ? INADDR_LOOPBACK : INADDR_ANY);
  sockaddr_in6 v6{};
  v6.sin6_family = AF_INET6;
  v6.sin6_port = v4.sin_port;
  v6.sin6_addr = in6addr_any;
  int fd = only_this_machine ? -1 : listening_socket(v6, AF_INET6);
  const bool no_v6 = only_this_machine || (fd < 0 && errno != EADDRINUSE);
  if (no_v6) fd = listening_socket(v4, AF_INET);
  if (fd >= 0) return fd;
  throw Error(fmt::format(
      "port {} cannot be used to meet the other processes: {} (another training may use it); set "
      "MASTER_PORT to a free port, the same for all processes",
      port, std::generic_category().message(errno)));
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

 private:
  Store store_;
};

Store make_store(const Launch& launch, Milliseconds timeout) {
  c10d::TCPStoreOptions options;
  options.port = static_cast<uint16_t>(launch.master_port);
  options.isServer = launch.rank == 0 && !launch.agent_store;
  options.numWorkers = static_cast<size_t>(launch.world_size);
  options.waitWorkers = false;
  options.timeout = timeout;
  std::string host = launch.master_addr;
  const bool only_this_machine = is_loopback(host);
  if (only_this_machine) host = "127.0.0.1";
  if (options.isServer)
    options.masterListenFd = store_socket(launch.master_port, only_this_machine);
  auto store = c10::make_intrusive<c10d::TCPStore>(host, options);
  store->setTimeout(timeout);
  // Separate names for each restart: torchrun's store outlives the processes.
  return c10::make_intrusive<c10d::PrefixStore>(fmt::format("ddpm/{}", launch.restart_count),
                                                store);
}

Backend make_gloo(const Launch& launch, const Store& store, Milliseconds timeout) {
  using Gloo = c10d::ProcessGroupGloo;
  const auto options = Gloo::Options::create(timeout);
  const char* interface = std::getenv("GLOO_SOCKET_IFNAME");
  options->devices.push_back(
      interface != nullptr && *interface != '\0' ? Gloo::createDeviceForInterface(interface)
      : is_loopback(launch.master_addr)          ? Gloo::createDeviceForHostname("127.0.0.1")
                                                 : Gloo::createDefaultDevice());
  return c10::make_intrusive<Gloo>(c10::make_intrusive<c10d::PrefixStore>("gloo", store),
                                   static_cast<int>(launch.rank),
                                   static_cast<int>(launch.world_size), options);
}

// The store, after all ranks have met there.
Store make_met_store(const Launch& launch, const Identity& identity, Milliseconds timeout) {
  const Store store = make_store(launch, timeout);
  StoreBoard board(c10::make_intrusive<c10d::PrefixStore>("meet", store));
  meet(board, launch, identity, timeout);
  return store;
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

class C10dGroup : public ProcessGroup {
 public:
  C10dGroup(const Launch& launch, const torch::Device& device, Milliseconds timeout,
            const Identity& identity)
      : store_(make_met_store(launch, identity, timeout)),
        gloo_(make_gloo(launch, store_, timeout)),
        device_(device) {
    if (device.is_cuda()) nccl_ = make_nccl(launch, store_, timeout);
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
    try {
      if (nccl_) nccl_->abort();
    } catch (const std::exception&) {  // already broken
    }
  }

 private:
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

  Store store_;
  Backend gloo_;
  Backend nccl_;
  torch::Device device_;
};

}  // namespace

std::unique_ptr<ProcessGroup> ProcessGroup::connect(const Launch& launch,
                                                    const torch::Device& device,
                                                    std::chrono::milliseconds timeout,
                                                    const Identity& identity) {
  const QuietLog quiet;
  return std::make_unique<C10dGroup>(launch, device, timeout, identity);
}

std::string port_problem(int port, bool only_this_machine) {
  try {
    ::close(store_socket(port, only_this_machine));
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
