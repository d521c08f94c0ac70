#include "steady.hpp"

#include <algorithm>
#include <cstddef>
#include <deque>
#include <limits>

namespace hwflow {
namespace {

constexpr int kMostPasses = 512;

// One end of a stream. `now` and `before` hold when each beat moves in a frame, and in the frame
// before; a process that stands still, because nothing holds it up, has no `before`.
template <typename Time>
struct End {
  const std::int32_t* ticks = nullptr;
  std::int64_t beats = 0;
  std::int64_t stream = 0;
  std::size_t process = 0;
  bool writes = false;
  std::int64_t done = 0;  // beats of the frame that is being worked out
  std::vector<Time> now, before, kept;
  std::vector<std::uint8_t> grew_most;  // by beat: whether it did in the frame before

  const Time* last_frame() const { return before.empty() ? now.data() : before.data(); }
};

struct Runner {
  std::int64_t period = 1;
  std::vector<std::size_t> ends;
  bool is_input = false;
  bool active = false;  // worked out again in this pass
  bool touched = false;  // since the depths changed
  bool queued = false, finished = false;
  std::int64_t tick = 0;                // of the next beats
  std::int64_t lateness = 0;            // cycles by which its ticks come after their number
  std::int64_t kept_lateness = 0;       // before the depths changed
  std::int64_t waits_for = -1;
};

template <typename Time>
class Steady final : public SteadyState {
 public:
  Steady(const std::vector<DataflowProcess>& processes, std::int64_t streams,
         std::int64_t interval)
      : interval_(interval),
        runners_(processes.size()),
        ends_(static_cast<std::size_t>(2 * streams)) {
    for (std::size_t index = 0; index < processes.size(); ++index) {
      Runner& runner = runners_[index];
      runner.period = processes[index].period;
      runner.is_input = true;
      for (const DataflowPort& port : processes[index].ports) {
        const auto place = static_cast<std::size_t>(2 * port.stream + (port.writes ? 0 : 1));
        End<Time>& end = ends_[place];
        end.ticks = port.ticks;
        end.beats = port.count;
        end.stream = port.stream;
        end.process = index;
        end.writes = port.writes;
        runner.is_input &= port.writes;
        runner.ends.push_back(place);
      }
    }
  }

  SteadyResult settle(const std::vector<std::int64_t>& depths) override {
    depths_ = depths;
    for (End<Time>& end : ends_) end.now.assign(static_cast<std::size_t>(end.beats), kLongAgo);
    for (Runner& runner : runners_) {
      runner.active = true;
      runner.lateness = runner.is_input ? 0 : kLongAgo;
    }
    const SteadyResult result = iterate();
    for (Runner& runner : runners_) forget(runner);
    return result;
  }

  SteadyResult change(const std::vector<std::int64_t>& streams,
                      const std::vector<std::int64_t>& depths) override {
    const std::vector<std::int64_t> previous = depths_;
    for (std::size_t index = 0; index < streams.size(); ++index) {
      depths_[static_cast<std::size_t>(streams[index])] = depths[index];
    }
    for (const std::int64_t stream : streams) {
      const auto place = static_cast<std::size_t>(stream);
      if (writer_held_up(place)) runners_[writer(place).process].active = true;
    }
    keeping_ = true;
    const SteadyResult result = iterate();
    keeping_ = false;
    const bool back = result.steadiness != Steadiness::keeps;
    if (back) depths_ = previous;
    for (Runner& runner : runners_) {
      if (back && runner.touched) {
        for (const std::size_t place : runner.ends) ends_[place].now.swap(ends_[place].kept);
        runner.lateness = runner.kept_lateness;
      }
      forget(runner);
    }
    return result;
  }

  std::vector<std::int64_t> fill() const override {
    std::vector<std::int64_t> result;
    for (std::size_t stream = 0; stream < depths_.size(); ++stream) {
      const auto& written = writer(stream).now;
      const auto& read = reader(stream).now;
      const auto beats = static_cast<std::int64_t>(written.size());
      std::int64_t most = 1, later = 0, place = 0, frame = 0;
      for (std::int64_t beat = 0; beat < beats; ++beat) {
        while (written[static_cast<std::size_t>(place)] + frame <=
               read[static_cast<std::size_t>(beat)]) {
          ++later;
          if (++place == beats) {
            place = 0;
            frame += interval_;
          }
        }
        most = std::max(most, later - beat);
      }
      result.push_back(most);
    }
    return result;
  }

 private:
  static constexpr std::int64_t kLongAgo = std::numeric_limits<Time>::min() / 4;

  End<Time>& writer(std::size_t stream) { return ends_[2 * stream]; }
  End<Time>& reader(std::size_t stream) { return ends_[2 * stream + 1]; }
  const End<Time>& writer(std::size_t stream) const { return ends_[2 * stream]; }
  const End<Time>& reader(std::size_t stream) const { return ends_[2 * stream + 1]; }

  void forget(Runner& runner) {
    for (const std::size_t place : runner.ends) {
      End<Time>& end = ends_[place];
      for (auto* times : {&end.before, &end.kept}) std::vector<Time>().swap(*times);
      std::vector<std::uint8_t>().swap(end.grew_most);
    }
    runner.active = runner.touched = false;
  }

  // Works out one frame after the other until it is known what becomes of the depths.
  SteadyResult iterate() {
    std::int64_t previous_most = -1;  // if the frame before held nobody up who was not active
    for (int pass = 0; pass < kMostPasses; ++pass) {
      if (std::none_of(runners_.begin(), runners_.end(), [](auto& r) { return r.active; })) {
        return {};
      }
      SteadyResult result;
      if (!work_out(result)) return result;
      const std::int64_t most = grown();
      if (most == 0) return {};
      if (too_late()) break;
      const bool again = mark(most) && most == previous_most;
      if (hold_up()) {
        previous_most = -1;
        continue;
      }
      if (again) {
        result.steadiness = Steadiness::slows;
        result.excess = most;
        return result;
      }
      previous_most = most;
    }
    SteadyResult result;
    result.steadiness = Steadiness::unsettled;
    return result;
  }

  // The next frame of the active processes; false if they wait for one another.
  bool work_out(SteadyResult& result) {
    std::deque<std::size_t> queue;
    for (std::size_t index = 0; index < runners_.size(); ++index) {
      Runner& runner = runners_[index];
      for (const std::size_t place : runner.ends) {
        End<Time>& end = ends_[place];
        if (!runner.active) {
          end.done = end.beats;
          std::vector<Time>().swap(end.before);
          continue;
        }
        if (keeping_ && !runner.touched) end.kept = end.now;
        end.done = 0;
        end.before.resize(end.now.size());
        end.before.swap(end.now);
      }
      if (!runner.active) continue;
      if (!runner.touched) runner.kept_lateness = runner.lateness;
      runner.touched = true;
      runner.finished = false;
      runner.waits_for = -1;
      // the frame before ended so late, which its drain and restart may make up for
      runner.lateness = std::max<std::int64_t>(kLongAgo, runner.lateness + runner.period - interval_);
      runner.queued = true;
      queue.push_back(index);
    }
    while (!queue.empty()) {
      Runner& runner = runners_[queue.front()];
      queue.pop_front();
      runner.queued = false;
      if (!advance(runner)) continue;
      for (const std::size_t place : runner.ends) {
        const std::size_t other = ends_[place ^ 1].process;
        Runner& neighbour = runners_[other];
        if (!neighbour.active || neighbour.queued || neighbour.finished) continue;
        neighbour.queued = true;
        queue.push_back(other);
      }
    }
    for (const Runner& runner : runners_) {
      result.waits_for.push_back(runner.active ? runner.waits_for : -1);
      if (runner.active && !runner.finished) result.steadiness = Steadiness::blocks;
    }
    return result.steadiness != Steadiness::blocks;
  }

  // Runs a process until it must wait for what another has not done yet; whether it moved.
  bool advance(Runner& runner) {
    bool moved = false;
    runner.waits_for = -1;
    while (true) {
      std::int64_t tick = runner.period;
      for (const std::size_t place : runner.ends) {
        const End<Time>& end = ends_[place];
        if (end.done < end.beats) {
          tick = std::min<std::int64_t>(tick, end.ticks[end.done]);
        }
      }
      if (tick == runner.period) {
        runner.finished = true;
        return moved;
      }
      std::int64_t cycle = runner.lateness + tick;
      for (const std::size_t place : runner.ends) {
        const End<Time>& end = ends_[place];
        if (end.done == end.beats || end.ticks[end.done] != tick) continue;
        const End<Time>& other = ends_[place ^ 1];
        std::int64_t beat = end.done;
        if (!end.writes) {
          if (other.done <= beat) {
            runner.waits_for = end.stream;
            return moved;
          }
          cycle = std::max<std::int64_t>(cycle, other.now[static_cast<std::size_t>(beat)] + 1);
          continue;
        }
        if (runner.is_input) cycle = std::max(cycle, beat * interval_ / end.beats);
        beat -= depths_[static_cast<std::size_t>(end.stream)];
        if (beat >= 0) {
          if (other.done <= beat) {
            runner.waits_for = end.stream;
            return moved;
          }
          cycle = std::max<std::int64_t>(cycle, other.now[static_cast<std::size_t>(beat)] + 1);
        } else {
          const std::int64_t frames = (-beat + end.beats - 1) / end.beats;
          cycle = std::max<std::int64_t>(
              cycle, other.last_frame()[beat + frames * end.beats] - frames * interval_ + 1);
        }
      }
      runner.lateness = cycle - tick;
      moved = true;
      for (const std::size_t place : runner.ends) {
        End<Time>& end = ends_[place];
        if (end.done == end.beats || end.ticks[end.done] != tick) continue;
        end.now[static_cast<std::size_t>(end.done++)] = static_cast<Time>(cycle);
      }
    }
  }

  // The cycles by which the beats of active processes came later than a frame before, at the most.
  std::int64_t grown() const {
    std::int64_t most = 0;
    for (const End<Time>& end : ends_) {
      if (!runners_[end.process].active) continue;
      Time here = 0;
      for (std::size_t beat = 0; beat < end.now.size(); ++beat) {
        here = std::max<Time>(here, end.now[beat] - end.before[beat]);
      }
      most = std::max<std::int64_t>(most, here);
    }
    return most;
  }

  // Whether a frame has come so late that the next one's times might not be held.
  bool too_late() const {
    return std::any_of(ends_.begin(), ends_.end(), [](const End<Time>& end) {
      return end.beats > 0 && end.now.back() > std::numeric_limits<Time>::max() / 2;
    });
  }

  // Marks the beats that grew most; whether all that were marked are marked again.
  bool mark(std::int64_t most) {
    bool again = true;
    for (End<Time>& end : ends_) {
      if (!runners_[end.process].active) {
        // a process that was not held up did not grow
        again &= std::none_of(end.grew_most.begin(), end.grew_most.end(), [](auto b) { return b; });
        end.grew_most.clear();
        continue;
      }
      end.grew_most.resize(end.now.size(), 0);
      std::uint8_t lost = 0;
      for (std::size_t beat = 0; beat < end.now.size(); ++beat) {
        const std::uint8_t grew = end.now[beat] - end.before[beat] == most;
        lost |= end.grew_most[beat] & static_cast<std::uint8_t>(grew ^ 1);
        end.grew_most[beat] = grew;
      }
      again &= lost == 0;
    }
    return again;
  }

  // Makes those processes active whose beats cannot move when they do; whether there are others
  // among them than were active.
  bool hold_up() {
    std::vector<std::uint8_t> held(runners_.size(), 0);
    for (std::size_t stream = 0; stream < depths_.size(); ++stream) {
      const std::size_t from = writer(stream).process, to = reader(stream).process;
      if (!runners_[from].active && !runners_[to].active) continue;
      if (!held[to]) held[to] = reader_held_up(stream);
      if (!held[from]) held[from] = writer_held_up(stream);
    }
    bool wider = false;
    for (std::size_t index = 0; index < runners_.size(); ++index) {
      Runner& runner = runners_[index];
      if (runner.active && !held[index]) held[index] = self_held_up(runner);
      wider |= held[index] && !runner.active;
      runner.active = held[index];
    }
    return wider;
  }

  bool reader_held_up(std::size_t stream) const {
    const Time* written = writer(stream).now.data();
    const Time* read = reader(stream).now.data();
    return any_too_early(written, read, reader(stream).beats, 0);
  }

  bool writer_held_up(std::size_t stream) const {
    const Time* written = writer(stream).now.data();
    const Time* read = reader(stream).now.data();
    const std::int64_t beats = writer(stream).beats, depth = depths_[stream];
    const std::int64_t frames = depth / beats, rest = depth % beats;
    return any_too_early(read, written + rest, beats - rest, frames * interval_) ||
           any_too_early(read + beats - rest, written, rest, (frames + 1) * interval_);
  }

  bool self_held_up(const Runner& runner) const {
    std::int64_t first = runner.period, cycle = 0;
    for (const std::size_t place : runner.ends) {
      const End<Time>& end = ends_[place];
      if (end.beats == 0 || end.ticks[0] >= first) continue;
      first = end.ticks[0];
      cycle = end.now[0];
    }
    return first < runner.period && runner.lateness + runner.period - interval_ > cycle - first;
  }

  // Whether some beat does not come after another that it waits for.
  static bool any_too_early(const Time* first, const Time* second, std::int64_t count,
                            std::int64_t later) {
    constexpr std::int64_t kBlock = 4096;
    for (std::int64_t begin = 0; begin < count; begin += kBlock) {
      const std::int64_t end = std::min(count, begin + kBlock);
      bool found = false;
      for (std::int64_t beat = begin; beat < end; ++beat) {
        found |= second[beat] + later <= first[beat];
      }
      if (found) return true;
    }
    return false;
  }

  std::int64_t interval_;
  std::vector<Runner> runners_;
  std::vector<End<Time>> ends_;  // of each stream the writer's and the reader's
  std::vector<std::int64_t> depths_;
  bool keeping_ = false;  // what active processes did, to go back to
};

}  // namespace

std::unique_ptr<SteadyState> steady_state(const std::vector<DataflowProcess>& processes,
                                          std::int64_t streams, std::int64_t interval) {
  if (interval < std::numeric_limits<std::int32_t>::max() / 128) {
    return std::make_unique<Steady<std::int32_t>>(processes, streams, interval);
  }
  return std::make_unique<Steady<std::int64_t>>(processes, streams, interval);
}

}  // namespace hwflow
