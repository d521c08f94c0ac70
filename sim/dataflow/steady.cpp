#include "steady.hpp"

#include <algorithm>
#include <cstddef>
#include <limits>
#include <optional>

#include "frame.hpp"
#include "slow_cycle.hpp"

namespace hwflow {
namespace {

constexpr int kReturns = 3;
constexpr int kMostPasses = 1024;
constexpr int kLong = 2;  // frames' worth of beats, before all processes are worked out
constexpr int kPatience = 8;  // passes of all processes before older frames are kept
constexpr std::size_t kMostBytes = std::size_t{1} << 30;  // of older frames

template <typename Time>
class Steady final : public SteadyState {
 public:
  Steady(const std::vector<DataflowProcess>& processes, std::int64_t streams,
         std::int64_t interval)
      : frame_(processes, streams, interval),
        choices_(processes.size()),
        kept_(frame_.ends.size()) {
    for (const StreamEnd<Time>& end : frame_.ends) beats_ += end.beats;
  }

  SteadyResult settle(const std::vector<std::int64_t>& depths) override {
    frame_.depths = depths;
    for (StreamEnd<Time>& end : frame_.ends) {
      end.now.assign(static_cast<std::size_t>(end.beats), Frame<Time>::kLongAgo);
    }
    for (FrameProcess& process : frame_.processes) {
      process.active = true;
      process.lateness = process.is_input ? 0 : Frame<Time>::kLongAgo;
    }
    const SteadyResult result = iterate();
    forget();
    return result;
  }

  SteadyResult change(const std::vector<std::int64_t>& streams,
                      const std::vector<std::int64_t>& depths, bool only_tried) override {
    const std::vector<std::int64_t> previous = frame_.depths;
    for (std::size_t index = 0; index < streams.size(); ++index) {
      frame_.depths[static_cast<std::size_t>(streams[index])] = depths[index];
    }
    for (const std::int64_t stream : streams) {
      const auto place = static_cast<std::size_t>(stream);
      if (!writer_held_up(place)) continue;
      frame_.processes[frame_.writer(place).process].active = true;
      if (streams.size() == 1) join_in(place);
    }
    if (streams.size() == 1) changed_ = static_cast<std::size_t>(streams.front());
    keeping_ = true;
    const SteadyResult result = iterate();
    keeping_ = false;
    changed_.reset();
    if (only_tried || result.steadiness != Steadiness::keeps) {
      frame_.depths = previous;
      go_back();
    }
    forget();
    return result;
  }

  std::vector<std::int64_t> fill() const override {
    std::vector<std::int64_t> result;
    for (std::size_t stream = 0; stream < frame_.depths.size(); ++stream) {
      const auto& written = frame_.writer(stream).now;
      const auto& read = frame_.reader(stream).now;
      const auto beats = static_cast<std::int64_t>(written.size());
      std::int64_t most = 1, later = 0, place = 0, frame = 0;
      for (std::int64_t beat = 0; beat < beats; ++beat) {
        while (written[static_cast<std::size_t>(place)] + frame <=
               read[static_cast<std::size_t>(beat)]) {
          ++later;
          if (++place == beats) {
            place = 0;
            frame += frame_.interval;
          }
        }
        most = std::max(most, later - beat);
      }
      result.push_back(most);
    }
    return result;
  }

  void follow(const SteadyState& other) override {
    const Frame<Time>& from = dynamic_cast<const Steady&>(other).frame_;
    frame_.depths = from.depths;
    for (std::size_t place = 0; place < frame_.ends.size(); ++place) {
      frame_.ends[place].now = from.ends[place].now;
    }
    for (std::size_t index = 0; index < frame_.processes.size(); ++index) {
      frame_.processes[index].lateness = from.processes[index].lateness;
    }
  }

 private:
  // What was done with a process since the depths changed.
  struct Choice {
    bool touched = false;
    int returns = 0;                 // times that it was held up
    std::int64_t kept_lateness = 0;  // from before
  };

  // Makes all processes active that lie on the ways from a fork to a join of which a stream is part:
  // a delay of its writer comes back through them.
  void join_in(std::size_t stream) {
    const std::size_t from = frame_.writer(stream).process, to = frame_.reader(stream).process;
    const auto below = reached(meeting(to, false, from), true);
    const auto above = reached(meeting(from, true, to), false);
    for (std::size_t index = 0; index < choices_.size(); ++index) {
      if (!below[index] || !above[index]) continue;
      frame_.processes[index].active = true;
      choices_[index].returns = kReturns - 1;
    }
  }

  // The nearest process that all beats of a fork come to, or all beats of a join come from; or
  // `otherwise` if there is none. Processes stand in the order of execution.
  std::size_t meeting(std::size_t from, bool forward, std::size_t otherwise) const {
    std::vector<std::uint8_t> all(choices_.size(), 1);
    for (const std::size_t place : frame_.processes[from].ends) {
      const StreamEnd<Time>& end = frame_.ends[place];
      if (end.writes != forward) continue;
      const auto one = reached(frame_.other(end).process, forward);
      for (std::size_t index = 0; index < all.size(); ++index) all[index] &= one[index];
    }
    if (forward) {
      const auto found = std::find(all.begin(), all.end(), 1);
      return found == all.end() ? otherwise : static_cast<std::size_t>(found - all.begin());
    }
    const auto found = std::find(all.rbegin(), all.rend(), 1);
    return found == all.rend() ? otherwise : static_cast<std::size_t>(all.rend() - found) - 1;
  }

  // The processes that a process's beats come to, or come from, itself included.
  std::vector<std::uint8_t> reached(std::size_t from, bool forward) const {
    std::vector<std::uint8_t> found(choices_.size(), 0);
    std::vector<std::size_t> open{from};
    found[from] = 1;
    while (!open.empty()) {
      const std::size_t index = open.back();
      open.pop_back();
      for (const std::size_t place : frame_.processes[index].ends) {
        const StreamEnd<Time>& end = frame_.ends[place];
        const std::size_t other = frame_.other(end).process;
        if (end.writes != forward || found[other]) continue;
        found[other] = 1;
        open.push_back(other);
      }
    }
    return found;
  }

  // Works out one frame after the other until it is known what becomes of the depths.
  SteadyResult iterate() {
    SteadyResult result;
    result.interval = frame_.interval;
    Budget budget;
    std::int64_t worked_out = 0;
    bool all = false;
    int all_since = 0;
    for (int pass = 0; pass < kMostPasses; ++pass) {
      const std::int64_t beats = active_beats();
      worked_out += beats;
      budget.steps += beats;
      budget.attempt = std::max(budget.attempt, beats);
      if (!all && worked_out > kLong * beats_) {
        // a delay that travels far crosses the network in one frame if all are worked out
        all = true;
        all_since = pass;
        for (FrameProcess& process : frame_.processes) process.active = true;
        for (Choice& choice : choices_) choice.returns = kReturns;
      }
      if (all && pass - all_since > kPatience) keep_older_frames();
      touch();
      if (!frame_.work_out()) {
        for (const FrameProcess& process : frame_.processes) {
          result.waits_for.push_back(process.active ? process.waits_for : -1);
        }
        result.steadiness = Steadiness::blocks;
        return result;
      }
      if (too_late()) break;
      if (!goes_on()) {
        if (!hold_up()) return result;
        continue;
      }
      if (slows(budget, result)) {
        return result;
      }
    }
    result.steadiness = Steadiness::unsettled;
    return result;
  }

  // Keeps twice as many frames once all that were kept are there.
  void keep_older_frames() {
    if (frame_.kept > frame_.ends.front().older.size()) return;
    const std::size_t more = std::max<std::size_t>(4, 2 * frame_.kept);
    if (more * static_cast<std::size_t>(beats_) * sizeof(Time) <= kMostBytes) frame_.kept = more;
  }

  std::int64_t active_beats() const {
    std::int64_t beats = 0;
    for (const StreamEnd<Time>& end : frame_.ends) {
      beats += frame_.processes[end.process].active ? end.beats : 0;
    }
    return beats;
  }

  // Keeps what the active processes did before the depths changed.
  void touch() {
    for (std::size_t index = 0; index < choices_.size(); ++index) {
      const FrameProcess& process = frame_.processes[index];
      if (!process.active || choices_[index].touched) continue;
      choices_[index].touched = true;
      choices_[index].kept_lateness = process.lateness;
      if (!keeping_) continue;
      for (const std::size_t place : process.ends) kept_[place] = frame_.ends[place].now;
    }
  }

  void go_back() {
    for (std::size_t index = 0; index < choices_.size(); ++index) {
      FrameProcess& process = frame_.processes[index];
      if (!choices_[index].touched) continue;
      for (const std::size_t place : process.ends) frame_.ends[place].now.swap(kept_[place]);
      process.lateness = choices_[index].kept_lateness;
    }
  }

  void forget() {
    for (StreamEnd<Time>& end : frame_.ends) {
      std::vector<Time>().swap(end.before);
      end.older.clear();
    }
    frame_.kept = 0;
    for (std::vector<Time>& kept : kept_) std::vector<Time>().swap(kept);
    for (FrameProcess& process : frame_.processes) process.active = false;
    for (Choice& choice : choices_) choice = {};
  }

  // Steps in search of a cycle: no more in all than beats were worked out.
  struct Budget {
    std::int64_t steps = 0;
    std::int64_t attempt = 0;  // of the next search; twice as many as of one that they ended
  };

  // Whether the beat that came later by most than in the frame before is part of, or held up by, a
  // cycle that takes longer than the interval, as far as the budget goes.
  //   result: says so then.
  bool slows(Budget& budget, SteadyResult& result) const {
    const bool in_past = frame_.kept > 0 && frame_.ends.front().older.size() == frame_.kept;
    if (budget.steps < budget.attempt && !in_past) return false;
    const StreamEnd<Time>* latest = nullptr;
    std::size_t place = 0;
    Time most = 0;
    for (const StreamEnd<Time>& end : frame_.ends) {
      if (!frame_.processes[end.process].active) continue;
      for (std::size_t beat = 0; beat < end.now.size(); ++beat) {
        const Time grown = end.now[beat] - end.before[beat];
        if (grown <= most) continue;
        most = grown;
        latest = &end;
        place = beat;
      }
    }
    if (latest == nullptr) return false;
    SlowCycle<Time> cycle(frame_);
    const auto beat = static_cast<std::int64_t>(place);
    if (in_past && cycle.found_in_past(*latest, beat)) {
      result.steadiness = Steadiness::slows;
    } else if (budget.steps >= budget.attempt) {
      std::int64_t left = budget.attempt;
      if (cycle.found_now(*latest, beat, left)) {
        result.steadiness = Steadiness::slows;
        result.depth_needed = changed_ ? cycle.depth_needed(*changed_) : 0;
      }
      budget.steps -= budget.attempt - left;
      if (left <= 0) budget.attempt *= 2;
    }
    if (result.steadiness != Steadiness::slows) return false;
    result.interval = cycle.least_interval();
    return true;
  }

  // Whether a frame has come so late that the next one's times might not be held.
  bool too_late() const {
    return std::any_of(frame_.ends.begin(), frame_.ends.end(), [](const StreamEnd<Time>& end) {
      return end.beats > 0 && end.now.back() > std::numeric_limits<Time>::max() / 2;
    });
  }

  // Makes those processes active whose beats cannot move when they do; whether there are any. A
  // delay that travels on is so worked out in one process after the other; those that it comes
  // back to again and again stay active together, to show whether it ever ends.
  bool hold_up() {
    std::vector<std::size_t> held;
    for (std::size_t stream = 0; stream < frame_.depths.size(); ++stream) {
      const std::size_t from = frame_.writer(stream).process, to = frame_.reader(stream).process;
      if (frame_.processes[from].active == frame_.processes[to].active) continue;
      const bool to_reader = frame_.processes[from].active;
      if (to_reader ? reader_held_up(stream) : writer_held_up(stream)) {
        held.push_back(to_reader ? to : from);
      }
    }
    for (std::size_t index = 0; index < choices_.size(); ++index) {
      frame_.processes[index].active &= choices_[index].returns >= kReturns;
    }
    for (const std::size_t index : held) {
      frame_.processes[index].active = true;
      ++choices_[index].returns;
    }
    return !held.empty();
  }

  // Whether some active process is held up by the frame before, and so comes later in the next.
  bool goes_on() const {
    for (const FrameProcess& process : frame_.processes) {
      if (!process.active) continue;
      std::int64_t first = process.period, cycle = 0;
      for (const std::size_t place : process.ends) {
        const StreamEnd<Time>& end = frame_.ends[place];
        if (end.beats > 0 && end.ticks[0] < first) {
          first = end.ticks[0];
          cycle = end.now[0];
        }
        if (end.writes && frame_.processes[frame_.other(end).process].active &&
            writer_held_up_across(static_cast<std::size_t>(end.stream))) {
          return true;
        }
      }
      if (first < process.period &&
          process.lateness + process.period - frame_.interval > cycle - first) {
        return true;
      }
    }
    return false;
  }

  bool reader_held_up(std::size_t stream) const {
    const StreamEnd<Time>& reader = frame_.reader(stream);
    return any_too_early(frame_.writer(stream).now.data(), reader.now.data(), reader.beats, 0);
  }

  bool writer_held_up(std::size_t stream) const {
    const std::int64_t beats = frame_.writer(stream).beats, depth = frame_.depths[stream];
    return (depth < beats &&
            any_too_early(frame_.reader(stream).now.data(),
                          frame_.writer(stream).now.data() + depth, beats - depth, 0)) ||
           writer_held_up_across(stream);
  }

  // The same, by beats read in an earlier frame.
  bool writer_held_up_across(std::size_t stream) const {
    const Time* written = frame_.writer(stream).now.data();
    const Time* read = frame_.reader(stream).now.data();
    const std::int64_t beats = frame_.writer(stream).beats, depth = frame_.depths[stream];
    const std::int64_t frames = depth / beats, rest = depth % beats;
    return (frames > 0 &&
            any_too_early(read, written + rest, beats - rest, frames * frame_.interval)) ||
           any_too_early(read + beats - rest, written, rest, (frames + 1) * frame_.interval);
  }

  // Whether some beat does not come after another that it waits for.
  static bool any_too_early(const Time* first, const Time* second, std::int64_t count,
                            std::int64_t later) {
    constexpr std::int64_t kBlock = 4096;
    const auto least = static_cast<Time>(
        std::max<std::int64_t>(-later, std::numeric_limits<Time>::min() / 2));
    for (std::int64_t begin = 0; begin < count; begin += kBlock) {
      const std::int64_t end = std::min(count, begin + kBlock);
      bool found = false;
      for (std::int64_t beat = begin; beat < end; ++beat) {
        found |= second[beat] - first[beat] <= least;
      }
      if (found) return true;
    }
    return false;
  }

  Frame<Time> frame_;
  std::vector<Choice> choices_;          // by process
  std::vector<std::vector<Time>> kept_;  // by end: what it did before, of touched processes
  std::int64_t beats_ = 0;               // of all ends
  std::optional<std::size_t> changed_;   // the only stream whose depth changed
  bool keeping_ = false;                 // what active processes did, to go back to
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
