#include "api.h"

#include <algorithm>
#include <cstddef>
#include <exception>

#include "dataflow.hpp"

int32_t hwflow_dataflow(const int64_t* periods, int64_t processes, const hwflow_port* ports,
                        int64_t port_count, const int64_t* depths, int64_t streams, int64_t frames,
                        int64_t* fill, int64_t* waits_for, int64_t* finished, int64_t* figures) {
  try {
    std::vector<hwflow::DataflowProcess> given(static_cast<std::size_t>(processes));
    for (std::size_t i = 0; i < given.size(); ++i) given[i].period = periods[i];
    for (int64_t i = 0; i < port_count; ++i) {
      const hwflow_port& port = ports[i];
      given[static_cast<std::size_t>(port.process)].ports.push_back(
          {port.stream, port.writes != 0, port.ticks, port.count});
    }
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
