#include "api.h"

#include <algorithm>
#include <cstddef>
#include <exception>
#include <memory>

#include "dataflow.hpp"
#include "steady.hpp"

namespace {

std::vector<hwflow::DataflowProcess> processes_of(const int64_t* periods, int64_t processes,
                                                  const hwflow_port* ports, int64_t port_count) {
  std::vector<hwflow::DataflowProcess> given(static_cast<std::size_t>(processes));
  for (std::size_t i = 0; i < given.size(); ++i) given[i].period = periods[i];
  for (int64_t i = 0; i < port_count; ++i) {
    const hwflow_port& port = ports[i];
    given[static_cast<std::size_t>(port.process)].ports.push_back(
        {port.stream, port.writes != 0, port.ticks, port.count});
  }
  return given;
}

}  // namespace

struct hwflow_steady {
  std::unique_ptr<hwflow::SteadyState> state;
  int64_t streams;
};

namespace {

template <typename Work>
int32_t steadiness(const Work& work, int64_t* found, int64_t* waits_for) {
  try {
    const hwflow::SteadyResult result = work();
    found[0] = result.interval;
    found[1] = result.depth_needed;
    std::copy(result.waits_for.begin(), result.waits_for.end(), waits_for);
    return static_cast<int32_t>(result.steadiness);
  } catch (const std::exception&) {
    return -1;
  }
}

}  // namespace

hwflow_steady* hwflow_steady_new(const int64_t* periods, int64_t processes,
                                 const hwflow_port* ports, int64_t port_count, int64_t streams,
                                 int64_t interval) {
  try {
    return new hwflow_steady{
        hwflow::steady_state(processes_of(periods, processes, ports, port_count), streams,
                             interval),
        streams};
  } catch (const std::exception&) {
    return nullptr;
  }
}

void hwflow_steady_delete(hwflow_steady* state) { delete state; }

int32_t hwflow_steady_settle(hwflow_steady* state, const int64_t* depths, int64_t* found,
                             int64_t* waits_for) {
  return steadiness([&] { return state->state->settle({depths, depths + state->streams}); }, found,
                    waits_for);
}

int32_t hwflow_steady_change(hwflow_steady* state, const int64_t* streams, const int64_t* depths,
                             int64_t count, int64_t only_tried, int64_t* found,
                             int64_t* waits_for) {
  return steadiness(
      [&] {
        return state->state->change({streams, streams + count}, {depths, depths + count},
                                    only_tried != 0);
      },
      found, waits_for);
}

int32_t hwflow_steady_fill(const hwflow_steady* state, int64_t* fill) {
  try {
    const std::vector<std::int64_t> found = state->state->fill();
    std::copy(found.begin(), found.end(), fill);
    return 0;
  } catch (const std::exception&) {
    return -1;
  }
}

int32_t hwflow_steady_follow(hwflow_steady* state, const hwflow_steady* other) {
  try {
    state->state->follow(*other->state);
    return 0;
  } catch (const std::exception&) {
    return -1;
  }
}

int32_t hwflow_dataflow(const int64_t* periods, int64_t processes, const hwflow_port* ports,
                        int64_t port_count, const int64_t* depths, int64_t streams, int64_t frames,
                        int64_t* fill, int64_t* waits_for, int64_t* finished, int64_t* figures) {
  try {
    const auto given = processes_of(periods, processes, ports, port_count);
    const auto result = hwflow::simulate_dataflow(given, {depths, depths + streams}, frames);
    std::copy(result.fill.begin(), result.fill.end(), fill);
    std::copy(result.waits_for.begin(), result.waits_for.end(), waits_for);
    for (std::size_t i = 0; i < given.size(); ++i) {
      int64_t* target = figures + static_cast<std::ptrdiff_t>(i) * frames * 4;
      finished[i] = static_cast<int64_t>(result.frames[i].size());
      for (const hwflow::DataflowFrame& frame : result.frames[i]) {
        *target++ = frame.first;
        *target++ = frame.last;
        *target++ = frame.waited_to_read;
        *target++ = frame.waited_to_write;
      }
    }
    return result.deadlocked ? 1 : 0;
  } catch (const std::exception&) {
    return 2;
  }
}
