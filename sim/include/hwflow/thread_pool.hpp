// Threads that wait for work in forks and joins of a few microseconds.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace hwflow {

class ThreadPool {
 public:
  // `size` threads in all, the caller's included.
  explicit ThreadPool(int size);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const { return static_cast<int>(threads_.size()) + 1; }

  // Runs `work(worker)` once on every thread (worker 0 is the caller) and waits for all. The first
  // exception thrown is thrown again.
  void run(const std::function<void(int)>& work);

 private:
  void serve(int worker);
  void attempt(int worker);

  std::vector<std::thread> threads_;
  const std::function<void(int)>* work_ = nullptr;
  std::atomic<std::uint32_t> generation_{0};
  std::atomic<std::uint32_t> pending_{0};
  std::atomic<bool> stopping_{false};
  std::mutex failure_lock_;
  std::exception_ptr failure_;
};

}  // namespace hwflow
