#include "dataflow.hpp"

#include <algorithm>
#include <cstddef>
#include <deque>

namespace hwflow {
namespace {

// A FIFO, and when its latest beats were written and read. As no more than `depth` beats lie
// between the writer's and the reader's place, a ring of that size holds every time still needed.
class Fifo {
 public:
  explicit Fifo(std::int64_t depth) : depth_(depth) {
    std::size_t size = 1;
    while (size < static_cast<std::size_t>(depth) + 1) size *= 2;
    mask_ = size - 1;
    written_at_.resize(size);
    read_at_.resize(size);
  }

  bool can_read() const { return read_ < written_; }
  bool can_write() const { return written_ - read_ < depth_; }
  // The earliest cycle of the next read and of the next write, once they are possible.
  std::int64_t readable() const { return written_at_[slot(read_)] + 1; }
  std::int64_t writable() const {
    return written_ < depth_ ? 0 : read_at_[slot(written_ - depth_)] + 1;
  }

  void read(std::int64_t cycle) {
    read_at_[slot(read_++)] = cycle;
    merge();
  }
  void write(std::int64_t cycle) {
    written_at_[slot(written_++)] = cycle;
    merge();
  }
  // At the end: what was never read counts too.
  std::int64_t fill() const { return std::max(fill_, written_ - read_); }

 private:
  std::size_t slot(std::int64_t beat) const { return static_cast<std::size_t>(beat) & mask_; }

  // Walks through writes and reads in the order of time, as far as both are known.
  void merge() {
    while (in_ < written_) {
      if (out_ == read_) {
        if (in_ > out_) return;  // whether that beat is read before the next write is not yet known
      } else if (read_at_[slot(out_)] < written_at_[slot(in_)]) {
        ++out_;
        continue;
      }
      ++in_;
      fill_ = std::max(fill_, in_ - out_);
    }
  }

  std::int64_t depth_;
  std::size_t mask_ = 0;
  std::vector<std::int64_t> written_at_, read_at_;
  std::int64_t written_ = 0, read_ = 0;  // beats so far
  std::int64_t in_ = 0, out_ = 0;        // of them, those merged
  std::int64_t fill_ = 0;
};

// One end of a stream, and where its process stands.
struct End {
  Fifo* fifo = nullptr;
  bool writes = false;
  const std::int32_t* ticks = nullptr;
  std::int64_t count = 0;
  std::int64_t next = 0;  // its next beat of this frame
  std::int64_t tick = 0;  // of that beat
  std::int64_t stream = 0;
  std::size_t other = 0;  // the process at the other end
  bool moved = false;     // since the process was last taken up
};

struct Runner {
  std::int64_t period = 1;
  std::vector<End> ends;
  std::int64_t start = 0;  // the cycle of tick 0 if nothing more waits
  DataflowFrame frame;
  bool moved = false;  // in this frame
  std::vector<DataflowFrame> done;
  std::int64_t waits_for = -1;
  bool queued = true;

  void rewind() {
    for (End& end : ends) {
      end.next = 0;
      end.tick = end.count > 0 ? end.ticks[0] : period;
    }
  }
};

// Runs a process until it must wait for what another has not done yet, or its frames are done.
void advance(Runner& runner, std::int64_t frames) {
  const std::int64_t period = runner.period;
  runner.waits_for = -1;
  while (static_cast<std::int64_t>(runner.done.size()) < frames) {
    std::int64_t tick = period;
    for (const End& end : runner.ends) tick = std::min(tick, end.tick);
    if (tick == period) {
      runner.start += period;
      runner.done.push_back(runner.frame);
      runner.frame = {};
      runner.moved = false;
      runner.rewind();
      continue;
    }
    const std::int64_t due = runner.start + tick;
    std::int64_t cycle = due;
    bool late_to_write = false;
    for (const End& end : runner.ends) {
      if (end.tick != tick) continue;
      if (!(end.writes ? end.fifo->can_write() : end.fifo->can_read())) {
        runner.waits_for = end.stream;
        return;
      }
      const std::int64_t ready = end.writes ? end.fifo->writable() : end.fifo->readable();
      if (ready > cycle) {
        cycle = ready;
        late_to_write = end.writes;
      }
    }
    (late_to_write ? runner.frame.waited_to_write : runner.frame.waited_to_read) += cycle - due;
    runner.start += cycle - due;
    if (!runner.moved) runner.frame.first = cycle;
    runner.moved = true;
    runner.frame.last = cycle;
    for (End& end : runner.ends) {
      if (end.tick != tick) continue;
      if (end.writes) {
        end.fifo->write(cycle);
      } else {
        end.fifo->read(cycle);
      }
      end.moved = true;
      end.tick = ++end.next < end.count ? end.ticks[end.next] : period;
    }
  }
}

}  // namespace

DataflowResult simulate_dataflow(const std::vector<DataflowProcess>& processes,
                                 const std::vector<std::int64_t>& depths, std::int64_t frames) {
  std::vector<Fifo> fifos;
  for (const std::int64_t depth : depths) fifos.emplace_back(depth);
  std::vector<Runner> runners(processes.size());
  std::vector<std::size_t> writer(depths.size()), reader(depths.size());
  for (std::size_t index = 0; index < processes.size(); ++index) {
    for (const DataflowPort& port : processes[index].ports) {
      (port.writes ? writer : reader)[static_cast<std::size_t>(port.stream)] = index;
    }
  }
  std::deque<std::size_t> queue;
  for (std::size_t index = 0; index < processes.size(); ++index) {
    Runner& runner = runners[index];
    runner.period = processes[index].period;
    for (const DataflowPort& port : processes[index].ports) {
      const auto stream = static_cast<std::size_t>(port.stream);
      End end;
      end.fifo = &fifos[stream];
      end.writes = port.writes;
      end.ticks = port.ticks;
      end.count = port.count;
      end.stream = port.stream;
      end.other = (port.writes ? reader : writer)[stream];
      runner.ends.push_back(end);
    }
    runner.rewind();
    queue.push_back(index);
  }
  // The order in which processes are taken up does not change what they do, for each beat's cycle
  // follows from earlier ones alone.
  while (!queue.empty()) {
    Runner& runner = runners[queue.front()];
    queue.pop_front();
    runner.queued = false;
    advance(runner, frames);
    for (End& end : runner.ends) {
      if (!end.moved) continue;
      end.moved = false;
      if (runners[end.other].queued) continue;
      runners[end.other].queued = true;
      queue.push_back(end.other);
    }
  }
  DataflowResult result;
  for (const Fifo& fifo : fifos) result.fill.push_back(fifo.fill());
  for (const Runner& runner : runners) {
    result.deadlocked |= static_cast<std::int64_t>(runner.done.size()) < frames;
    result.frames.push_back(runner.done);
    result.waits_for.push_back(runner.waits_for);
  }
  return result;
}

}  // namespace hwflow
