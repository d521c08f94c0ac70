#include "hwflow/thread_pool.hpp"

namespace hwflow {
namespace {

constexpr int kSpins = 4000;

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

// Waits until the value is no longer `old`: first busily, then asleep.
void wait_change(std::atomic<std::uint32_t>& value, std::uint32_t old) {
  for (int spin = 0; spin < kSpins; ++spin) {
    if (value.load(std::memory_order_acquire) != old) return;
    pause();
  }
  value.wait(old, std::memory_order_acquire);
}

}  // namespace

ThreadPool::ThreadPool(int size) {
  for (int worker = 1; worker < size; ++worker) {
    threads_.emplace_back([this, worker] { serve(worker); });
  }
}

ThreadPool::~ThreadPool() {
  stopping_.store(true, std::memory_order_relaxed);
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  for (auto& thread : threads_) thread.join();
}

void ThreadPool::attempt(int worker) {
  try {
    (*work_)(worker);
  } catch (...) {
    const std::lock_guard guard(failure_lock_);
    if (!failure_) failure_ = std::current_exception();
  }
}

void ThreadPool::serve(int worker) {
  std::uint32_t seen = 0;
  while (true) {
    wait_change(generation_, seen);
    ++seen;
    if (stopping_.load(std::memory_order_relaxed)) return;
    attempt(worker);
    if (pending_.fetch_sub(1, std::memory_order_acq_rel) == 1) pending_.notify_one();
  }
}

void ThreadPool::run(const std::function<void(int)>& work) {
  work_ = &work;
  failure_ = nullptr;
  pending_.store(static_cast<std::uint32_t>(threads_.size()), std::memory_order_relaxed);
  if (!threads_.empty()) {
    generation_.fetch_add(1, std::memory_order_release);
    generation_.notify_all();
  }
  attempt(0);
  while (const std::uint32_t left = pending_.load(std::memory_order_acquire)) {
    wait_change(pending_, left);
  }
  if (failure_) std::rethrow_exception(failure_);
}

}  // namespace hwflow
