#include "hwflow/engine.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <limits>
#include <new>
#include <type_traits>
#include <utility>

#include "hwflow/error.hpp"

namespace hwflow {
namespace {

constexpr std::size_t kAlignment = 64;
constexpr std::size_t kMostPlans = 8;
constexpr int kMostThreads = 256;

// Arena memory, aligned for vectors.
class Arena {
 public:
  void grow(std::int64_t size) {
    if (size <= size_) return;
    release();
    data_ = static_cast<std::byte*>(
        ::operator new(static_cast<std::size_t>(size), std::align_val_t{kAlignment}));
    // Filling beside tensors is multiplied by zero weights: any values do, but some there must be.
    std::memset(data_, 0, static_cast<std::size_t>(size));
    size_ = size;
  }
  Arena() = default;
  ~Arena() { release(); }
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;
  std::byte* data() const { return data_; }

 private:
  void release() {
    if (data_ != nullptr) ::operator delete(data_, std::align_val_t{kAlignment});
    data_ = nullptr;
    size_ = 0;
  }
  std::byte* data_ = nullptr;
  std::int64_t size_ = 0;
};

template <typename T>
void widen(const std::byte* from, std::int64_t count, std::int64_t* values) {
  for (std::int64_t i = 0; i < count; ++i) {
    T value;
    std::memcpy(&value, from + i * static_cast<std::int64_t>(sizeof(T)), sizeof(T));
    values[i] = static_cast<std::int64_t>(value);
  }
}

void widen_items(const ImageArray& array, std::int64_t first, std::int64_t count,
                 std::int64_t* values) {
  const std::byte* from = array.data + first * array.item_bytes;
  switch (array.item_bytes) {
    case 1:
      array.is_signed ? widen<std::int8_t>(from, count, values)
                      : widen<std::uint8_t>(from, count, values);
      return;
    case 2:
      array.is_signed ? widen<std::int16_t>(from, count, values)
                      : widen<std::uint16_t>(from, count, values);
      return;
    case 4:
      array.is_signed ? widen<std::int32_t>(from, count, values)
                      : widen<std::uint32_t>(from, count, values);
      return;
    default:
      widen<std::int64_t>(from, count, values);
  }
}

template <typename From, typename To>
void copy_items(const From* from, std::int64_t count, std::int64_t bias, To* to) {
  for (std::int64_t i = 0; i < count; ++i) {
    to[i] = static_cast<To>(static_cast<To>(from[i]) - static_cast<To>(bias));
  }
}

void export_image(const View& view, const std::byte* arena, const ImageArray& array,
                  std::int64_t image) {
  with_item_type(view.storage, [&](const auto* type) {
    const std::int64_t bias = bias_of(view.storage);
    std::int64_t item = image * view.shape.size();
    for (std::int64_t y = 0; y < view.shape.height; ++y) {
      for (std::int64_t x = 0; x < view.shape.width; ++x) {
        const auto* from = reinterpret_cast<decltype(type)>(arena + view.at(y, x));
        // A row at once where pixels lie side by side.
        const std::int64_t count =
            view.shape.channels * (view.is_dense() ? view.shape.width : 1);
        if (array.item_bytes == 8) {
          copy_items(from, count, bias, reinterpret_cast<std::int64_t*>(array.data) + item);
        } else {
          copy_items(from, count, bias, reinterpret_cast<std::int32_t*>(array.data) + item);
        }
        item += count;
        if (view.is_dense()) break;
      }
    }
  });
}

// The least and the greatest item of a tensor, as they lie in memory.
template <typename Item>
std::pair<Item, Item> extremes(const View& view, const std::byte* arena) {
  Item least = std::numeric_limits<Item>::max();
  Item greatest = std::numeric_limits<Item>::min();
  for (std::int64_t y = 0; y < view.shape.height; ++y) {
    for (std::int64_t x = 0; x < view.shape.width; ++x) {
      const auto* items = reinterpret_cast<const Item*>(arena + view.at(y, x));
      const std::int64_t count = view.shape.channels * (view.is_dense() ? view.shape.width : 1);
      for (std::int64_t i = 0; i < count; ++i) {
        least = items[i] < least ? items[i] : least;
        greatest = items[i] > greatest ? items[i] : greatest;
      }
      if (view.is_dense()) break;
    }
  }
  return {least, greatest};
}

}  // namespace

struct Engine::Worker {
  Arena arena;
  std::vector<OverflowCount> overflows;
  std::vector<TensorStatistics> statistics;
  bool counting = false;

  Context context(std::byte* memory) {
    return {memory, counting ? overflows.data() : nullptr};
  }
};

Engine::Engine(Program program, int threads, const std::string& path)
    : program_(std::move(program)), target_(Target::choose(path)), threads_(threads) {
  if (threads < 0 || threads > kMostThreads) {
    throw InputError("threads must be from 0 to " + std::to_string(kMostThreads));
  }
  if (threads == 0) {
    threads_ = std::clamp(static_cast<int>(std::thread::hardware_concurrency()), 1, kMostThreads);
  }
  reset_statistics();
}

Engine::~Engine() = default;

void Engine::reset_statistics() {
  const std::lock_guard guard(lock_);
  statistics_.assign(program_.operations.size(), TensorStatistics{});
}

std::int64_t Engine::arena_bytes() {
  const std::lock_guard guard(lock_);
  return plan_for(std::vector<bool>(program_.operations.size(), false)).arena_bytes();
}

Plan& Engine::plan_for(const std::vector<bool>& kept) {
  const auto found = plans_.find(kept);
  if (found != plans_.end()) return *found->second;
  if (plans_.size() >= kMostPlans) plans_.clear();
  return *plans_.emplace(kept, std::make_unique<Plan>(program_, target_, kept)).first->second;
}

void Engine::prepare_workers(std::size_t count, std::int64_t arena_bytes, bool statistics) {
  while (workers_.size() < static_cast<std::size_t>(threads_)) {
    workers_.push_back(std::make_unique<Worker>());
  }
  for (std::size_t i = 0; i < workers_.size(); ++i) {
    Worker& worker = *workers_[i];
    if (i < count) worker.arena.grow(arena_bytes);
    worker.counting = statistics;
    worker.overflows.assign(program_.operations.size(), OverflowCount{});
    worker.statistics.assign(program_.operations.size(), TensorStatistics{});
  }
}

void Engine::run(std::span<const ImageArray> inputs, std::span<const ImageArray> outputs,
                 std::int64_t images, const RunOptions& options) {
  const std::lock_guard guard(lock_);
  const std::size_t operations = program_.operations.size();
  std::vector<bool> kept(operations, options.statistics);
  for (const ImageArray& output : outputs) {
    if (output.operation >= operations) throw InputError("an output that does not exist");
    const bool narrow = storage_of(program_.tensors[output.operation]) != Storage::kI64;
    if (output.item_bytes != 8 && !(output.item_bytes == 4 && narrow)) {
      throw InputError("an output's items are too small");
    }
    kept[output.operation] = true;
  }
  for (const std::size_t wanted : program_.inputs) {
    const auto same = [&](const ImageArray& array) { return array.operation == wanted; };
    if (std::none_of(inputs.begin(), inputs.end(), same)) {
      throw InputError("input '" + program_.operations[wanted]->name + "' is missing");
    }
  }
  const Plan& plan = plan_for(kept);
  if (!pool_ && threads_ > 1) pool_.emplace(threads_);
  const bool split = threads_ > 1 && images < 2 * threads_;  // threads within an image
  prepare_workers(split ? 1 : static_cast<std::size_t>(threads_), plan.arena_bytes(),
                  options.statistics);
  const auto report = [&](std::int64_t done) {
    if (options.progress && !options.progress(done)) throw Cancelled();
  };
  if (split || threads_ == 1) {
    for (std::int64_t image = 0; image < images; ++image) {
      run_image(plan, inputs, outputs, image, *workers_[0], split);
      report(image + 1);
    }
  } else {
    std::atomic<std::int64_t> next{0};
    std::atomic<std::int64_t> done{0};
    pool_->run([&](int index) {
      try {
        while (true) {
          const std::int64_t image = next.fetch_add(1);
          if (image >= images) break;
          run_image(plan, inputs, outputs, image, *workers_[static_cast<std::size_t>(index)],
                    false);
          const std::int64_t count = done.fetch_add(1) + 1;
          if (index == 0) report(count);
        }
      } catch (...) {
        next.store(images);
        throw;
      }
    });
    if (options.progress) options.progress(images);
  }
  if (options.statistics) gather_statistics();
}

void Engine::run_image(const Plan& plan, std::span<const ImageArray> inputs,
                       std::span<const ImageArray> outputs, std::int64_t image, Worker& worker,
                       bool split) {
  std::byte* arena = worker.arena.data();
  for (const ImageArray& input : inputs) import_image(plan, input, image, worker);
  if (!split) {
    for (const auto& step : plan.steps()) step->run(worker.context(arena), 0, step->units());
  } else {
    for (const auto& step : plan.steps()) {
      const std::int64_t units = step->units();
      if (units < 2) {
        step->run(worker.context(arena), 0, units);
        continue;
      }
      // A few pieces for each thread, so that a thread that is held up does not hold up the rest.
      const std::int64_t pieces = std::min<std::int64_t>(units, 4 * threads_);
      std::atomic<std::int64_t> next{0};
      pool_->run([&](int index) {
        const Context context = workers_[static_cast<std::size_t>(index)]->context(arena);
        for (std::int64_t piece = next.fetch_add(1); piece < pieces; piece = next.fetch_add(1)) {
          step->run(context, units * piece / pieces, units * (piece + 1) / pieces);
        }
      });
    }
  }
  for (const ImageArray& output : outputs) {
    export_image(plan.view(output.operation), arena, output, image);
  }
  if (worker.counting) observe(plan, worker);
}

void Engine::import_image(const Plan& plan, const ImageArray& array, std::int64_t image,
                          Worker& worker) const {
  const View& view = plan.view(array.operation);
  const FixedPoint& format = program_.tensors[array.operation].format;
  const std::int64_t low = format.minimum();
  const std::int64_t high = format.maximum();
  const std::int64_t row = view.shape.width * view.shape.channels;
  const auto refuse_if = [&](bool outside) {
    if (!outside) return;
    throw InputError("input '" + program_.operations[array.operation]->name +
                     "' leaves its range of " + std::to_string(low) + " to " +
                     std::to_string(high));
  };
  if (array.item_bytes == 1 && array.is_signed == (view.storage == Storage::kS8) &&
      is_byte(view.storage)) {
    // A signed byte with its top bit turned over is biased.
    const auto flip = static_cast<std::uint8_t>(bias_of(view.storage));
    const auto least = static_cast<std::uint8_t>(low + flip);
    const auto greatest = static_cast<std::uint8_t>(high + flip);
    for (std::int64_t y = 0; y < view.shape.height; ++y) {
      const std::byte* from = array.data + image * view.shape.size() + y * row;
      const auto* bytes = reinterpret_cast<const std::uint8_t*>(from);
      auto* to = reinterpret_cast<std::uint8_t*>(worker.arena.data() + view.at(y, 0));
      std::uint8_t lowest = greatest;
      std::uint8_t highest = least;
      for (std::int64_t i = 0; i < row; ++i) {
        const auto byte = static_cast<std::uint8_t>(bytes[i] ^ flip);
        lowest = byte < lowest ? byte : lowest;
        highest = byte > highest ? byte : highest;
        to[i] = byte;
      }
      refuse_if(lowest < least || highest > greatest);
    }
    return;
  }
  std::vector<std::int64_t> values(static_cast<std::size_t>(row));
  for (std::int64_t y = 0; y < view.shape.height; ++y) {
    widen_items(array, image * view.shape.size() + y * row, row, values.data());
    bool outside = false;
    for (const std::int64_t value : values) outside |= value < low || value > high;
    refuse_if(outside);
    view.store(worker.arena.data(), y, 0, view.shape.width, values.data());
  }
}

void Engine::observe(const Plan& plan, Worker& worker) const {
  for (std::size_t i = 0; i < program_.operations.size(); ++i) {
    const View& view = plan.view(i);
    TensorStatistics& seen = worker.statistics[i];
    with_item_type(view.storage, [&](const auto* type) {
      using Item = std::remove_cvref_t<decltype(*type)>;
      const auto [least, greatest] = extremes<Item>(view, worker.arena.data());
      const std::int64_t low = static_cast<std::int64_t>(least) - bias_of(view.storage);
      const std::int64_t high = static_cast<std::int64_t>(greatest) - bias_of(view.storage);
      seen.minimum = seen.count == 0 ? low : std::min(seen.minimum, low);
      seen.maximum = seen.count == 0 ? high : std::max(seen.maximum, high);
    });
    seen.count += view.shape.size();
  }
}

void Engine::gather_statistics() {
  for (const auto& worker : workers_) {
    for (std::size_t i = 0; i < statistics_.size(); ++i) {
      TensorStatistics& all = statistics_[i];
      const TensorStatistics& part = worker->statistics[i];
      if (part.count != 0) {
        all.minimum = all.count == 0 ? part.minimum : std::min(all.minimum, part.minimum);
        all.maximum = all.count == 0 ? part.maximum : std::max(all.maximum, part.maximum);
        all.count += part.count;
      }
      all.overflows.saturated += worker->overflows[i].saturated;
      all.overflows.below += worker->overflows[i].below;
      all.overflows.wrapped += worker->overflows[i].wrapped;
    }
  }
}

}  // namespace hwflow
