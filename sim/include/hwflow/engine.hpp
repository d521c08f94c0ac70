// Runs a program over images, bit by bit as the hardware does.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "hwflow/plan.hpp"
#include "hwflow/program.hpp"
#include "hwflow/target.hpp"
#include "hwflow/thread_pool.hpp"

namespace hwflow {

// Raw integers of every image, shape (N, H, W, C), in little-endian items.
struct ImageArray {
  std::size_t operation = 0;
  std::byte* data = nullptr;  // never written through for inputs
  int item_bytes = 8;         // 1, 2, 4 or 8; outputs 4 or 8
  bool is_signed = true;
};

// What was seen of one tensor.
struct TensorStatistics {
  std::int64_t count = 0;
  std::int64_t minimum = 0;
  std::int64_t maximum = 0;
  OverflowCount overflows;
};

struct RunOptions {
  bool statistics = false;  // gathers them, at the cost of fusing nothing
  // Called by the caller's thread after images were done, with their number; false stops the run.
  std::function<bool(std::int64_t done)> progress;
};

class Engine {
 public:
  // `threads` 0 takes one for each processor; `path` empty takes the fastest.
  Engine(Program program, int threads, const std::string& path);
  ~Engine();

  const Program& program() const { return program_; }
  const std::string& path() const { return target_.name; }
  int threads() const { return threads_; }

  // Runs `images` images. Throws InputError if an array does not fit or a value leaves its format's
  // range, Cancelled if the progress function asks for it.
  void run(std::span<const ImageArray> inputs, std::span<const ImageArray> outputs,
           std::int64_t images, const RunOptions& options);

  // Of all runs with statistics so far, by operation.
  const std::vector<TensorStatistics>& statistics() const { return statistics_; }
  void reset_statistics();
  // Bytes of the arena of one image when only the outputs are kept.
  std::int64_t arena_bytes();

 private:
  struct Worker;

  Plan& plan_for(const std::vector<bool>& kept);
  void prepare_workers(std::size_t count, std::int64_t arena_bytes, bool statistics);
  void run_image(const Plan& plan, std::span<const ImageArray> inputs,
                 std::span<const ImageArray> outputs, std::int64_t image, Worker& worker,
                 bool split);
  void import_image(const Plan& plan, const ImageArray& array, std::int64_t image,
                    Worker& worker) const;
  void observe(const Plan& plan, Worker& worker) const;
  void gather_statistics();

  Program program_;
  Target target_;
  int threads_;
  std::mutex lock_;  // one run at a time
  std::optional<ThreadPool> pool_;
  std::map<std::vector<bool>, std::unique_ptr<Plan>> plans_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::vector<TensorStatistics> statistics_;
};

}  // namespace hwflow
