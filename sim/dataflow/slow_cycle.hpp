// A proof that frames take longer than an interval: beats that come after themselves too late.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <utility>
#include <vector>

#include "frame.hpp"

namespace hwflow {

// Beats of which each comes at least so many cycles after the next, and the last after the first of
// some frames before: `delay` in all, over `frames`. Whatever the times of beats are, a frame takes
// at least delay / frames cycles with these depths.
struct DependencyCycle {
  std::int64_t delay = 0;
  std::int64_t frames = 0;
};

// Follows beats backwards, from each to the one that holds it up most, until one comes again. Which
// cycle that is depends on the times as they are worked out so far; that it is one does not.
template <typename Time>
class SlowCycle {
 public:
  explicit SlowCycle(const Frame<Time>& frame) : frame_(frame) {}

  // Whether the cycle reached from an end's beat takes longer than the interval, if what holds a beat
  // up now always did. That often finds it long before frames grow evenly.
  //   allowed: steps to take at the most; becomes those that are left.
  bool found_now(const StreamEnd<Time>& end, std::int64_t beat, std::int64_t& allowed) {
    start(end, beat);
    // Brent: marks a place now and then, the next one after twice as many steps.
    std::size_t marked_process = process_;
    std::int64_t marked_tick = tick_, power = 1, steps = 0;
    while (to_cause(allowed)) {
      past_ = 0;
      if (process_ == marked_process && tick_ == marked_tick) return is_slow();
      if (++steps == power) {
        power *= 2;
        steps = 0;
        marked_process = process_;
        marked_tick = tick_;
        cycle_ = {};
      }
    }
    return false;
  }

  // Whether a beat on the way back through the frames that are kept comes later each time by a cycle.
  // Where delays take turns from frame to frame, none is in a single one.
  bool found_in_past(const StreamEnd<Time>& end, std::int64_t beat) {
    start(end, beat);
    std::map<std::pair<std::size_t, std::int64_t>, DependencyCycle> seen;
    std::int64_t allowed = std::numeric_limits<std::int64_t>::max();
    while (to_cause(allowed)) {
      const auto [place, is_new] = seen.try_emplace({process_, tick_}, cycle_);
      if (is_new) continue;
      const DependencyCycle all = cycle_;
      cycle_ = {all.delay - place->second.delay, all.frames - place->second.frames};
      if (is_slow()) return true;
      cycle_ = place->second = all;
    }
    return false;
  }

  // What a stream would have to hold for the cycle found now to take no longer than the interval; 0
  // if the cycle does not pass through places of it that become free.
  //
  // With one beat more, a place becomes free for the next write, or by the read before. If the cycle
  // stays in the writer until that write, or comes to the reader before that read, it is a cycle
  // still, shorter by the ticks in between. So depths are too few as long as it is too long.
  std::int64_t depth_needed(std::size_t stream) {
    const StreamEnd<Time>&writer = frame_.writer(stream), &reader = frame_.reader(stream);
    const std::size_t process = process_;
    const std::int64_t tick = tick_;
    std::int64_t excess = cycle_.delay - cycle_.frames * frame_.interval;
    std::int64_t allowed = std::numeric_limits<std::int64_t>::max();
    std::vector<Passage> passages;
    std::int64_t first_left = -1;
    bool was_freed = false;
    do {
      const std::int64_t entered = tick_;
      to_cause(allowed);
      past_ = 0;
      if (first_left < 0) first_left = left_at_;
      if (was_freed) passages.back().arrives = left_at_;
      was_freed = left_by_ == &writer;
      if (was_freed) {
        passages.push_back({left_with_, entered, frame_.cause(writer, left_with_).beat, 0});
      }
    } while (process_ != process || tick_ != tick);
    if (was_freed) passages.back().arrives = first_left;
    if (passages.empty()) return 0;
    std::int64_t needed = frame_.depths[stream];
    while (excess > 0) {
      ++needed;
      for (Passage& passage : passages) excess -= passage.widened(writer, reader);
    }
    return needed;
  }

  // The interval from frame to frame that no more than it allows.
  std::int64_t least_interval() const {
    return (cycle_.delay + cycle_.frames - 1) / cycle_.frames;
  }

 private:
  static constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::min();

  // Where a cycle goes from a read to the write that it makes a place for. It stays in the writer
  // until the tick `leaves`, and comes to the reader at the tick `arrives`.
  struct Passage {
    std::int64_t write, leaves, read, arrives;

    // With one beat more: the ticks by which the cycle becomes shorter, more than any if it ends.
    std::int64_t widened(const StreamEnd<Time>& writer, const StreamEnd<Time>& reader) {
      constexpr std::int64_t kEnds = std::int64_t{1} << 40;
      std::int64_t later = kEnds, earlier = kEnds;
      if (write + 1 < writer.beats && writer.ticks[write + 1] <= leaves) {
        later = writer.ticks[write + 1] - writer.ticks[write];
      }
      if (read > 0 && reader.ticks[read - 1] >= arrives) {
        earlier = reader.ticks[read] - reader.ticks[read - 1];
      }
      if (later <= earlier) {
        ++write;
      } else {
        --read;
      }
      return std::min(later, earlier);
    }
  };

  void start(const StreamEnd<Time>& end, std::int64_t beat) {
    process_ = end.process;
    tick_ = end.ticks[beat];
    past_ = 0;
    cycle_ = {};
  }

  // Without a frame between them they would block, which working out all processes shows.
  bool is_slow() const {
    return cycle_.frames > 0 && cycle_.delay > cycle_.frames * frame_.interval;
  }

  // Goes back through a process to what held it up, or to the end of its frame before; false if that
  // was an input's offer, lies before all frames that are kept, or no more steps are allowed.
  bool to_cause(std::int64_t& allowed) {
    const FrameProcess& process = frame_.processes[process_];
    const auto& first_end = frame_.ends[process.ends.front()];
    if (past_ > first_end.older.size()) return false;
    done_.clear();
    for (const std::size_t place : process.ends) done_.push_back(frame_.ends[place].up_to(tick_));
    while (allowed > 0) {
      --allowed;
      std::int64_t held_until = kNever, offer = kNever, own = kNever, previous = -1;
      const StreamEnd<Time>* by = nullptr;
      std::int64_t held_beat = 0;
      Cause held_by{0, 0};
      for (std::size_t index = 0; index < process.ends.size(); ++index) {
        const StreamEnd<Time>& end = frame_.ends[process.ends[index]];
        std::int64_t& done = done_[index];
        if (done > 0 && end.ticks[done - 1] == tick_) {
          --done;
          const Cause cause = frame_.cause(end, done);
          const StreamEnd<Time>& other = frame_.other(end);
          const Time* times = other.past(past_ + (cause.frames > 0));
          const std::int64_t until = times[cause.beat] + 1 - cause.frames * frame_.interval;
          if (until > held_until) {
            held_until = until;
            by = &end;
            held_beat = done;
            held_by = cause;
          }
          if (process.is_input) offer = std::max(offer, frame_.offered(end, done));
        }
        if (done > 0 && end.ticks[done - 1] > previous) {
          previous = end.ticks[done - 1];
          own = end.past(past_)[done - 1] + tick_ - previous;
        }
      }
      const bool first = previous < 0;
      if (first) {
        for (const std::size_t place : process.ends) {
          const StreamEnd<Time>& end = frame_.ends[place];
          if (end.beats == 0 || end.ticks[end.beats - 1] <= previous) continue;
          previous = end.ticks[end.beats - 1];
          own = end.past(past_ + 1)[end.beats - 1] + tick_ + process.period - previous -
                frame_.interval;
        }
      }
      if (offer >= std::max(own, held_until)) return false;
      left_at_ = tick_;
      left_by_ = held_until > own ? by : nullptr;
      left_with_ = held_beat;
      if (held_until > own) {
        cycle_.delay += 1;
        cycle_.frames += held_by.frames;
        past_ += held_by.frames > 0;
        process_ = frame_.other(*by).process;
        tick_ = frame_.other(*by).ticks[held_by.beat];
        return true;
      }
      cycle_.delay += tick_ - previous + (first ? process.period : 0);
      cycle_.frames += first;
      past_ += first;
      tick_ = previous;
      if (first) return true;
    }
    return false;
  }

  const Frame<Time>& frame_;
  DependencyCycle cycle_;  // since the mark
  std::size_t process_ = 0;
  std::int64_t tick_ = 0;
  // The tick at which a process was left, the end by which it was, if it was, and that end's beat.
  std::int64_t left_at_ = 0;
  const StreamEnd<Time>* left_by_ = nullptr;
  std::int64_t left_with_ = 0;
  std::size_t past_ = 0;  // frames back from the one worked out last
  std::vector<std::int64_t> done_;  // by end of the process: its beats up to the tick
};

}  // namespace hwflow
