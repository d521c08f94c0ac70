#include "c_api.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <memory>
#include <new>

#include "hwflow/engine.hpp"
#include "hwflow/error.hpp"

struct hwflow_engine {
  hwflow::Engine engine;
};

namespace {

// Runs `work` and turns what it throws into a status and a message.
template <typename Work>
int32_t guarded(char* message, int64_t message_bytes, Work work) {
  const auto say = [&](const char* text) {
    if (message == nullptr || message_bytes <= 0) return;
    const auto room = static_cast<std::size_t>(message_bytes) - 1;
    const std::size_t size = std::min(std::strlen(text), room);
    std::memcpy(message, text, size);
    message[size] = '\0';
  };
  try {
    work();
    return HWFLOW_DONE;
  } catch (const hwflow::ProgramError& error) {
    say(error.what());
    return HWFLOW_BAD_PROGRAM;
  } catch (const hwflow::InputError& error) {
    say(error.what());
    return HWFLOW_BAD_INPUT;
  } catch (const hwflow::Cancelled& error) {
    say(error.what());
    return HWFLOW_CANCELLED;
  } catch (const std::bad_alloc&) {
    say("out of memory");
    return HWFLOW_FAILED;
  } catch (const std::exception& error) {
    say(error.what());
    return HWFLOW_FAILED;
  }
}

std::vector<hwflow::ImageArray> arrays(const hwflow_array* items, int64_t count) {
  std::vector<hwflow::ImageArray> result;
  for (int64_t i = 0; i < count; ++i) {
    result.push_back({static_cast<std::size_t>(items[i].operation),
                      static_cast<std::byte*>(items[i].data), items[i].item_bytes,
                      items[i].is_signed != 0});
  }
  return result;
}

}  // namespace

#ifndef HWFLOW_SOURCE_DIGEST
#define HWFLOW_SOURCE_DIGEST ""
#endif

const char* hwflow_source_digest(void) { return HWFLOW_SOURCE_DIGEST; }

const char* hwflow_paths(void) {
  static const std::string names = [] {
    std::string text;
    for (const auto& name : hwflow::Target::available()) text += (text.empty() ? "" : ",") + name;
    return text;
  }();
  return names.c_str();
}

hwflow_engine* hwflow_load(const char* json, int64_t json_bytes, const void* npz, int64_t npz_bytes,
                           int32_t threads, const char* path, int32_t* status, char* message,
                           int64_t message_bytes) {
  std::unique_ptr<hwflow_engine> engine;
  *status = guarded(message, message_bytes, [&] {
    hwflow::Program program = hwflow::Program::load(
        {json, static_cast<std::size_t>(json_bytes)},
        {static_cast<const std::byte*>(npz), static_cast<std::size_t>(npz_bytes)});
    engine.reset(new hwflow_engine{
        hwflow::Engine(std::move(program), threads, path == nullptr ? "" : path)});
  });
  return engine.release();
}

void hwflow_free(hwflow_engine* engine) { delete engine; }

const char* hwflow_path(const hwflow_engine* engine) { return engine->engine.path().c_str(); }

int32_t hwflow_threads(const hwflow_engine* engine) { return engine->engine.threads(); }

int64_t hwflow_arena_bytes(hwflow_engine* engine) {
  int64_t bytes = -1;
  guarded(nullptr, 0, [&] { bytes = engine->engine.arena_bytes(); });
  return bytes;
}

int32_t hwflow_run(hwflow_engine* engine, const hwflow_array* inputs, int64_t input_count,
                   const hwflow_array* outputs, int64_t output_count, int64_t images,
                   int32_t statistics, hwflow_progress progress, void* user, char* message,
                   int64_t message_bytes) {
  return guarded(message, message_bytes, [&] {
    hwflow::RunOptions options;
    options.statistics = statistics != 0;
    if (progress != nullptr) {
      options.progress = [&](int64_t done) { return progress(done, user) == 0; };
    }
    engine->engine.run(arrays(inputs, input_count), arrays(outputs, output_count), images,
                       options);
  });
}

void hwflow_read_statistics(const hwflow_engine* engine, hwflow_statistics* result) {
  for (const auto& seen : engine->engine.statistics()) {
    *result++ = {seen.count, seen.minimum, seen.maximum, seen.overflows.saturated,
                 seen.overflows.below, seen.overflows.wrapped};
  }
}

void hwflow_reset_statistics(hwflow_engine* engine) { engine->engine.reset_statistics(); }

double hwflow_peak(const char* path, int32_t rounds) {
  double best = -1;
  guarded(nullptr, 0, [&] {
    const hwflow::Target target = hwflow::Target::choose(path);
    if (target.kernels == nullptr) return;
    using Clock = std::chrono::steady_clock;
    for (int32_t round = 0; round < rounds; ++round) {
      const auto start = Clock::now();
      const auto products = static_cast<double>(target.kernels->peak(1 << 18));
      const std::chrono::duration<double> seconds = Clock::now() - start;
      best = std::max(best, products / seconds.count());
    }
  });
  return best;
}
