// Processes joined by FIFOs, each with a fixed order of reads and writes: when does each beat move?
#pragma once

#include <cstdint>
#include <vector>

namespace hwflow {

// One end of a stream at a process.
struct DataflowPort {
  std::int64_t stream = 0;
  bool writes = false;
  const std::int32_t* ticks = nullptr;  // of the beats of a frame, ascending, below the period
  std::int64_t count = 0;
};

// A pipelined loop as its clock sees it. Its ticks are numbered from 0 in each frame; a tick waits
// until every beat that moves in it can move, and then all of them move; while it waits, nothing in
// the pipeline does. The next frame's tick 0 follows `period` ticks later.
struct DataflowProcess {
  std::int64_t period = 1;
  std::vector<DataflowPort> ports;
};

// What a process did in a frame, in cycles.
struct DataflowFrame {
  std::int64_t first = 0;           // when its first beat moved
  std::int64_t last = 0;            // when its last beat moved
  std::int64_t waited_to_read = 0;  // ticks that came late because a stream was empty
  std::int64_t waited_to_write = 0;
};

struct DataflowResult {
  bool deadlocked = false;
  std::vector<std::int64_t> fill;                  // by stream: the most beats it held
  std::vector<std::vector<DataflowFrame>> frames;  // by process: those that it finished
  std::vector<std::int64_t> waits_for;  // by process: the stream that it waits for at the end, or -1
};

// A beat written in a cycle can be read from the next one on; a place read from can be written to
// from the next one on. Every stream has one writer and one reader.
DataflowResult simulate_dataflow(const std::vector<DataflowProcess>& processes,
                                 const std::vector<std::int64_t>& depths, std::int64_t frames);

}  // namespace hwflow
