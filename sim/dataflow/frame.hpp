// One frame of processes joined by FIFOs: when each beat moves, worked out from the frame before.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <limits>
#include <type_traits>
#include <utility>
#include <vector>

#include "dataflow.hpp"

namespace hwflow {

// One end of a stream. `now` and `before` hold when each beat moves in a frame, and in the frame
// before, relative to their beginnings; of a process that stands still they are the same, and it
// has no `before`.
template <typename Time>
struct StreamEnd {
  const std::int32_t* ticks = nullptr;
  std::int64_t beats = 0;
  std::int64_t stream = 0;
  std::size_t process = 0;
  bool writes = false;
  std::size_t other = 0;  // place of the same stream's other end
  std::int64_t done = 0;  // beats of the frame that is being worked out
  std::vector<Time> now, before;
  std::deque<std::vector<Time>> older;  // than `before`, the latest first, if they are kept

  const Time* last_frame() const { return before.empty() ? now.data() : before.data(); }
  // The frame as it was worked out so many times before.
  const Time* past(std::size_t times) const {
    return times == 0 ? now.data() : times == 1 ? last_frame() : older[times - 2].data();
  }
  // The place of the first beat after a tick.
  std::int64_t up_to(std::int64_t tick) const {
    return std::upper_bound(ticks, ticks + beats, tick) - ticks;
  }
};

struct FrameProcess {
  std::int64_t period = 1;
  std::vector<std::size_t> ends;
  bool is_input = false;
  bool active = false;  // worked out; the others stand as they did
  bool queued = false, finished = false;
  std::int64_t lateness = 0;  // cycles by which its ticks come after their number
  std::int64_t waits_for = -1;
};

// Which beat of the other end a beat comes after: of its own frame, or of so many frames before.
struct Cause {
  std::int64_t beat;
  std::int64_t frames;
};

// Frames follow one another at the interval, and the beats of inputs are offered evenly over it.
template <typename Time>
class Frame {
 public:
  static constexpr std::int64_t kLongAgo = std::numeric_limits<Time>::min() / 4;

  Frame(const std::vector<DataflowProcess>& given, std::int64_t streams, std::int64_t interval)
      : interval(interval), processes(given.size()), ends(static_cast<std::size_t>(2 * streams)) {
    for (std::size_t index = 0; index < given.size(); ++index) {
      FrameProcess& process = processes[index];
      process.period = given[index].period;
      process.is_input = true;
      for (const DataflowPort& port : given[index].ports) {
        const auto place = static_cast<std::size_t>(2 * port.stream + (port.writes ? 0 : 1));
        StreamEnd<Time>& end = ends[place];
        end.ticks = port.ticks;
        end.beats = port.count;
        end.stream = port.stream;
        end.process = index;
        end.writes = port.writes;
        end.other = place ^ 1;
        process.is_input &= port.writes;
        process.ends.push_back(place);
      }
    }
  }

  const std::int64_t interval;
  std::vector<FrameProcess> processes;
  std::vector<StreamEnd<Time>> ends;  // of each stream the writer's and the reader's
  std::vector<std::int64_t> depths;   // by stream
  std::size_t kept = 0;               // frames older than the one before, if all are worked out

  StreamEnd<Time>& writer(std::size_t stream) { return ends[2 * stream]; }
  StreamEnd<Time>& reader(std::size_t stream) { return ends[2 * stream + 1]; }
  const StreamEnd<Time>& writer(std::size_t stream) const { return ends[2 * stream]; }
  const StreamEnd<Time>& reader(std::size_t stream) const { return ends[2 * stream + 1]; }
  const StreamEnd<Time>& other(const StreamEnd<Time>& end) const { return ends[end.other]; }

  Cause cause(const StreamEnd<Time>& end, std::int64_t beat) const {
    if (!end.writes) return {beat, 0};
    const std::int64_t freed = beat - depths[static_cast<std::size_t>(end.stream)];
    if (freed >= 0) return {freed, 0};
    const std::int64_t frames = (end.beats - 1 - freed) / end.beats;
    return {freed + frames * end.beats, frames};
  }

  // The cycle of a beat offered at an input.
  std::int64_t offered(const StreamEnd<Time>& end, std::int64_t beat) const {
    return beat * interval / end.beats;
  }

  // The next frame of the active processes; false if they wait for one another.
  bool work_out() {
    std::deque<std::size_t> queue;
    for (std::size_t index = 0; index < processes.size(); ++index) {
      FrameProcess& process = processes[index];
      process.waits_for = -1;
      for (const std::size_t place : process.ends) {
        StreamEnd<Time>& end = ends[place];
        if (!process.active) {
          end.done = end.beats;
          std::vector<Time>().swap(end.before);
          continue;
        }
        end.done = 0;
        if (kept > 0) {
          if (!end.before.empty()) end.older.push_front(std::move(end.before));
          if (end.older.size() > kept) end.older.pop_back();
          end.before = {};
        }
        end.before.resize(end.now.size());
        end.before.swap(end.now);
      }
      if (!process.active) continue;
      process.finished = false;
      // the frame before ended so late, which its drain and restart may make up for
      process.lateness = std::max(kLongAgo, process.lateness + process.period - interval);
      process.queued = true;
      queue.push_back(index);
    }
    while (!queue.empty()) {
      FrameProcess& process = processes[queue.front()];
      queue.pop_front();
      process.queued = false;
      if (!advance(process)) continue;
      for (const std::size_t place : process.ends) {
        const std::size_t next = other(ends[place]).process;
        FrameProcess& neighbour = processes[next];
        if (!neighbour.active || neighbour.queued || neighbour.finished) continue;
        neighbour.queued = true;
        queue.push_back(next);
      }
    }
    return std::none_of(processes.begin(), processes.end(),
                        [](const FrameProcess& p) { return p.active && !p.finished; });
  }

 private:
  // An end while its process runs.
  struct Port {
    StreamEnd<Time>* end;
    const std::int32_t* ticks;
    std::int64_t beats, done, known;  // `known`: the beats before that one may move
    const Time* times;                // by beat: of what it comes after
    std::int64_t later;               // cycles from there to the beat, at the least
    std::int64_t tick;                // of its next beat
    Time* now;
  };

  // Runs a process until it must wait for what another has not done yet; whether it moved.
  bool advance(FrameProcess& process) {
    if (process.is_input) return advance_ends<0, true>(process);
    switch (process.ends.size()) {
      case 1: return advance_ends<1, false>(process);
      case 2: return advance_ends<2, false>(process);
      case 3: return advance_ends<3, false>(process);
      default: return advance_ends<0, false>(process);
    }
  }

  // Whether an end's next beat may move as far as is known.
  bool knows(Port& port) const {
    if (port.done < port.known) return true;
    const StreamEnd<Time>& end = *port.end;
    const StreamEnd<Time>& from = other(end);
    const Cause first = cause(end, port.done);
    const std::int64_t until = first.frames > 0 ? from.beats : from.done;
    if (until <= first.beat) return false;
    port.known = std::min(port.beats, port.done + until - first.beat);
    port.times = (first.frames > 0 ? from.last_frame() : from.now.data()) + first.beat - port.done;
    port.later = 1 - first.frames * interval;
    return true;
  }

  // Moves beats of some ends as long as all of them have one in the same tick, before a tick in which
  // others have one, and know of it; returns how late the process is then.
  template <std::size_t kCount>
  static std::int64_t move_together(const std::array<Port*, 3>& ports, std::int64_t until,
                                    std::int64_t lateness) {
    std::int64_t beats = ports[0]->known - ports[0]->done;
    for (std::size_t i = 1; i < kCount; ++i) {
      beats = std::min(beats, ports[i]->known - ports[i]->done);
    }
    std::array<const std::int32_t*, kCount> ticks;
    std::array<const Time*, kCount> times;
    std::array<Time*, kCount> now;
    for (std::size_t i = 0; i < kCount; ++i) {
      ticks[i] = ports[i]->ticks + ports[i]->done;
      times[i] = ports[i]->times + ports[i]->done;
      now[i] = ports[i]->now + ports[i]->done;
    }
    std::int64_t beat = 0;
    for (; beat < beats && ticks[0][beat] < until; ++beat) {
      const std::int64_t tick = ticks[0][beat];
      std::int64_t cycle = times[0][beat] + ports[0]->later;
      bool same = true;
      for (std::size_t i = 1; i < kCount; ++i) {
        same &= ticks[i][beat] == tick;
        cycle = std::max(cycle, times[i][beat] + ports[i]->later);
      }
      if (!same) break;
      lateness = std::max(lateness, cycle - tick);
      for (std::size_t i = 0; i < kCount; ++i) now[i][beat] = static_cast<Time>(lateness + tick);
    }
    for (std::size_t i = 0; i < kCount; ++i) ports[i]->done += beat;
    return lateness;
  }

  // For a number of ends, 0 for any; it takes most of the time of all that is done here.
  template <std::size_t kEnds, bool kInput>
  bool advance_ends(FrameProcess& process) {
    std::conditional_t<kEnds == 0, std::vector<Port>, std::array<Port, kEnds>> ports;
    if constexpr (kEnds == 0) ports.resize(process.ends.size());
    const std::int64_t period = process.period;
    const auto find_tick = [period](Port& port) {
      port.tick = port.done < port.beats ? port.ticks[port.done] : period;
    };
    const auto earliest = [this](const Port& port, std::int64_t beat) {
      const std::int64_t cycle = port.times[beat] + port.later;
      return kInput ? std::max(cycle, offered(*port.end, beat)) : cycle;
    };
    std::int64_t lateness = process.lateness, moved = 0;
    for (std::size_t index = 0; index < ports.size(); ++index) {
      StreamEnd<Time>& end = ends[process.ends[index]];
      ports[index] = {&end, end.ticks, end.beats, end.done, end.done, nullptr, 0, 0, end.now.data()};
      moved -= end.done;
      find_tick(ports[index]);
    }
    const Port* waits = nullptr;
    while (waits == nullptr) {
      // the end whose beat is next, and until when it alone has beats
      std::int64_t tick = period, until = period;
      Port* next = nullptr;
      for (Port& port : ports) {
        if (port.tick < tick) {
          until = tick;
          tick = port.tick;
          next = &port;
        } else {
          until = std::min(until, port.tick);
        }
      }
      if (next == nullptr) break;
      if (tick < until) {
        Port& port = *next;
        while (port.tick < until && knows(port)) {
          std::int64_t beat = port.done;
          for (; beat < port.known && port.ticks[beat] < until; ++beat) {
            const std::int64_t its = port.ticks[beat];
            lateness = std::max(lateness, earliest(port, beat) - its);
            port.now[beat] = static_cast<Time>(lateness + its);
          }
          port.done = beat;
          find_tick(port);
        }
        if (port.tick < until) waits = &port;
        continue;
      }
      std::array<Port*, 3> together{};
      std::size_t count = 0;
      until = period;
      for (Port& port : ports) {
        if (port.tick != tick) {
          until = std::min(until, port.tick);
        } else if (!knows(port)) {
          waits = &port;
        } else if (++count <= together.size()) {
          together[count - 1] = &port;
        }
      }
      if (waits != nullptr) break;
      if (!kInput && count == 2) {
        lateness = move_together<2>(together, until, lateness);
      } else if (!kInput && count == 3) {
        lateness = move_together<3>(together, until, lateness);
      } else {
        for (const Port& port : ports) {
          if (port.tick == tick) lateness = std::max(lateness, earliest(port, port.done) - tick);
        }
        for (Port& port : ports) {
          if (port.tick == tick) port.now[port.done++] = static_cast<Time>(lateness + tick);
        }
      }
      for (Port& port : ports) find_tick(port);
    }
    for (const Port& port : ports) {
      port.end->done = port.done;
      moved += port.done;
    }
    process.lateness = lateness;
    process.finished = waits == nullptr;
    process.waits_for = waits == nullptr ? -1 : waits->end->stream;
    return moved > 0;
  }
};

}  // namespace hwflow
