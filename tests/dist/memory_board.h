#pragma once

#include "src/dist/rendezvous.h"

#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <stdexcept>
#include <string>

namespace ddpm::dist {

/// A board for threads of one process.
class MemoryBoard : public Board {
 public:
  void set(const std::string& key, const std::string& text) override {
    const std::lock_guard lock(mutex_);
    texts_[key] = text;
    changed_.notify_all();
  }
  bool has(const std::string& key) override {
    const std::lock_guard lock(mutex_);
    return texts_.count(key) > 0;
  }
  std::string get(const std::string& key, std::chrono::milliseconds patience) override {
    std::unique_lock lock(mutex_);
    if (!changed_.wait_for(lock, patience, [&] { return texts_.count(key) > 0; }))
      throw std::runtime_error("timeout");
    return texts_.at(key);
  }
  int64_t add(const std::string& key, int64_t amount) override {
    const std::lock_guard lock(mutex_);
    return numbers_[key] += amount;
  }
  void propose(const std::string& key, const std::string& text) override {
    const std::lock_guard lock(mutex_);
    texts_.emplace(key, text);
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, std::string> texts_;
  std::map<std::string, int64_t> numbers_;
};

}  // namespace ddpm::dist
