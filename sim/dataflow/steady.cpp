#include "steady.hpp"

#include <algorithm>
#include <cstddef>
#include <deque>
#include <limits>

namespace hwflow {
namespace {

constexpr int kReturns = 3;
constexpr int kLong = 3;  // frames of all processes
constexpr int kMostPasses = 1024;
constexpr int kMostSpans = 16;  // that are compared before they become longer

// One end of a stream. `now` and `before` hold when each beat moves in a frame, and in the frame
// before; a process that stands still, because nothing holds it up, has no `before`.
template <typename Time>
struct End {
  const std::int32_t* ticks = nullptr;
  std::int64_t beats = 0;
  std::int64_t stream = 0;
  std::size_t process = 0;
  bool writes = false;
  const End* other = nullptr;  // of the same stream
  std::int64_t done = 0;       // beats of the frame that is being worked out
  std::vector<Time> now, before, kept, span;
  std::vector<std::uint8_t> grew_most;  // by beat: whether it did in the frame before

  const Time* last_frame() const { return before.empty() ? now.data() : before.data(); }
};

struct Runner {
  std::int64_t period = 1;
  std::vector<std::size_t> ends;
  bool is_input = false;
  bool active = false;  // worked out again in this pass
  bool touched = false;  // since the depths changed
  int returns = 0;            // times that it was held up since then
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
        beats_ += port.count;
        end.stream = port.stream;
        end.process = index;
        end.writes = port.writes;
        end.other = &ends_[place ^ 1];
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
                      const std::vector<std::int64_t>& depths, bool only_tried) override {
    const std::vector<std::int64_t> previous = depths_;
    for (std::size_t index = 0; index < streams.size(); ++index) {
      depths_[static_cast<std::size_t>(streams[index])] = depths[index];
    }
    for (const std::int64_t stream : streams) {
      const auto place = static_cast<std::size_t>(stream);
      if (!writer_held_up(place)) continue;
      runners_[writer(place).process].active = true;
      if (streams.size() == 1) join_in(place);
    }
    keeping_ = true;
    const SteadyResult result = iterate();
    keeping_ = false;
    const bool back = only_tried || result.steadiness != Steadiness::keeps;
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

  // Makes all processes active that lie on the ways from a fork to a join of which a stream is part:
  // a delay of its writer comes back through them.
  void join_in(std::size_t stream) {
    const std::size_t fork = meeting(reader(stream).process, false, writer(stream).process);
    const std::size_t join = meeting(writer(stream).process, true, reader(stream).process);
    const auto below = reached(fork, true), above = reached(join, false);
    for (std::size_t index = 0; index < runners_.size(); ++index) {
      if (!below[index] || !above[index]) continue;
      runners_[index].active = true;
      runners_[index].returns = kReturns - 1;
    }
  }

  // The nearest process that all beats of a fork come to, or all beats of a join come from; or
  // `otherwise` if there is none. Processes stand in the order of execution.
  std::size_t meeting(std::size_t from, bool forward, std::size_t otherwise) const {
    std::vector<std::uint8_t> all(runners_.size(), 1);
    for (const std::size_t place : runners_[from].ends) {
      if (ends_[place].writes != forward) continue;
      const auto one = reached(ends_[place].other->process, forward);
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
    std::vector<std::uint8_t> found(runners_.size(), 0);
    std::vector<std::size_t> open{from};
    found[from] = 1;
    while (!open.empty()) {
      const std::size_t index = open.back();
      open.pop_back();
      for (const std::size_t place : runners_[index].ends) {
        const std::size_t other = ends_[place].other->process;
        if (ends_[place].writes != forward || found[other]) continue;
        found[other] = 1;
        open.push_back(other);
      }
    }
    return found;
  }

  void forget(Runner& runner) {
    for (const std::size_t place : runner.ends) {
      End<Time>& end = ends_[place];
      for (auto* times : {&end.before, &end.kept, &end.span}) std::vector<Time>().swap(*times);
      std::vector<std::uint8_t>().swap(end.grew_most);
    }
    runner.active = runner.touched = false;
    runner.returns = 0;
  }

  // Works out one frame after the other until it is known what becomes of the depths.
  SteadyResult iterate() {
    Pace pace;
    std::int64_t worked_out = 0;
    bool all = false;
    for (int pass = 0; pass < kMostPasses; ++pass) {
      SteadyResult result;
      for (const End<Time>& end : ends_) {
        worked_out += runners_[end.process].active ? end.beats : 0;
      }
      if (!all && worked_out > kLong * beats_) {
        // a delay that travels far crosses the network in one frame if all are worked out
        all = true;
        pace = {};
        for (Runner& runner : runners_) {
          runner.active = true;
          runner.returns = kReturns;
        }
      }
      if (!work_out(result)) return result;
      if (too_late()) break;
      if (!goes_on()) {
        if (!hold_up()) return {};
        pace = {};
        continue;
      }
      if (grows_for_ever(pace, result)) return result;
    }
    SteadyResult result;
    result.steadiness = Steadiness::unsettled;
    return result;
  }

  // How frames are compared: each with that `frames` before; what is the same in two such spans is
  // so for ever. A delay may take several frames to come back, so spans become longer.
  struct Pace {
    int frames = 1;
    int passes = 0;          // of this span
    int spans = 0;           // of this length
    std::int64_t most = -1;  // that a beat grew in the span before
  };

  bool grows_for_ever(Pace& pace, SteadyResult& result) {
    if (++pace.passes < pace.frames) return false;
    pace.passes = 0;
    const std::int64_t most = grown(pace.frames > 1);
    if (mark(most, pace.frames > 1) && most > 0 && most == pace.most) {
      result.steadiness = Steadiness::slows;
      result.excess = (most + pace.frames - 1) / pace.frames;
      return true;
    }
    pace.most = most;
    if (++pace.spans > kMostSpans) {
      const int next = pace.frames == 1 ? 2 : pace.frames == 2 ? 6 : pace.frames == 6 ? 12 : 60;
      pace = {next, 0, 0, -1};
    }
    if (pace.frames == 1) return false;
    for (End<Time>& end : ends_) {
      if (runners_[end.process].active) end.span = end.now;
    }
    return false;
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
        const std::size_t other = ends_[place].other->process;
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
    runner.waits_for = -1;
    if (runner.ends.size() == 2) {
      End<Time>&first = ends_[runner.ends[0]], &second = ends_[runner.ends[1]];
      if (!first.writes && second.writes) return advance_pair(runner, first, second);
    }
    bool moved = false;
    while (true) {
      // the end whose beat is next, and until when it alone has beats
      End<Time>* next = nullptr;
      std::int64_t tick = runner.period, until = runner.period;
      for (const std::size_t place : runner.ends) {
        End<Time>& end = ends_[place];
        const std::int64_t its = end.done < end.beats ? end.ticks[end.done] : runner.period;
        if (its < tick) {
          next = &end;
          until = tick;
          tick = its;
        } else {
          until = std::min(until, its);
        }
      }
      if (!next) {
        runner.finished = true;
        return moved;
      }
      if (tick < until) {
        const std::int64_t before = next->done;
        const bool goes_on = burst(runner, *next, until);
        moved |= next->done > before;
        if (goes_on) continue;
        runner.waits_for = next->stream;
        return moved;
      }
      std::int64_t lateness = runner.lateness;
      for (const std::size_t place : runner.ends) {
        End<Time>& end = ends_[place];
        if (end.done == end.beats || end.ticks[end.done] != tick) continue;
        const Source source = source_of(end);
        if (source.count <= 0) {
          runner.waits_for = end.stream;
          return moved;
        }
        lateness = std::max(lateness, *source.times + source.later - tick);
        if (runner.is_input) lateness = std::max(lateness, offered(end, end.done) - tick);
      }
      runner.lateness = lateness;
      moved = true;
      for (const std::size_t place : runner.ends) {
        End<Time>& end = ends_[place];
        if (end.done == end.beats || end.ticks[end.done] != tick) continue;
        end.now[static_cast<std::size_t>(end.done++)] = static_cast<Time>(lateness + tick);
      }
    }
  }

  // The same for the many processes with one input and one output, in less time.
  bool advance_pair(Runner& runner, End<Time>& in, End<Time>& out) {
    const Time* written = in.other->now.data();  // the input's beats
    const std::int64_t known = std::min(in.beats, in.other->done);
    Source freed{nullptr, 0, 0};  // that the output's beats from `base` on come after
    std::int64_t base = out.done, free = base;
    std::int64_t read = in.done, wrote = out.done, lateness = runner.lateness;
    runner.finished = false;
    while (true) {
      const std::int64_t in_tick = read < in.beats ? in.ticks[read] : runner.period;
      const std::int64_t out_tick = wrote < out.beats ? out.ticks[wrote] : runner.period;
      if (in_tick < out_tick) {
        for (; read < known && in.ticks[read] < out_tick; ++read) {
          lateness = std::max<std::int64_t>(lateness, written[read] + 1 - in.ticks[read]);
          in.now[static_cast<std::size_t>(read)] = static_cast<Time>(lateness + in.ticks[read]);
        }
        if (read < known || read == in.beats || in.ticks[read] >= out_tick) continue;
        runner.waits_for = in.stream;
        break;
      }
      if (out_tick == runner.period) {
        runner.finished = true;
        break;
      }
      if (wrote == free) {
        std::swap(out.done, wrote);
        freed = source_of(out);
        std::swap(out.done, wrote);
        base = wrote;
        free = std::min(out.beats, base + std::max<std::int64_t>(0, freed.count));
        if (wrote == free) {
          runner.waits_for = out.stream;
          break;
        }
      }
      if (in_tick == out_tick && read == known) {
        runner.waits_for = in.stream;
        break;
      }
      lateness = std::max<std::int64_t>(lateness, freed.times[wrote - base] + freed.later - out_tick);
      if (in_tick == out_tick) {
        lateness = std::max<std::int64_t>(lateness, written[read] + 1 - in_tick);
        in.now[static_cast<std::size_t>(read++)] = static_cast<Time>(lateness + in_tick);
      }
      out.now[static_cast<std::size_t>(wrote++)] = static_cast<Time>(lateness + out_tick);
    }
    const bool moved = read > in.done || wrote > out.done;
    in.done = read;
    out.done = wrote;
    runner.lateness = lateness;
    return moved;
  }

  // When the beats moved that an end's next beats come after.
  struct Source {
    const Time* times;
    std::int64_t count;  // of those that are known
    std::int64_t later;  // cycles from each to the beat that comes after it, at the least
  };

  Source source_of(const End<Time>& end) const {
    const End<Time>& other = *end.other;
    if (!end.writes) return {other.now.data() + end.done, other.done - end.done, 1};
    const std::int64_t beat = end.done - depths_[static_cast<std::size_t>(end.stream)];
    if (beat >= 0) return {other.now.data() + beat, other.done - beat, 1};
    const std::int64_t frames = (end.beats - 1 - beat) / end.beats;
    const std::int64_t place = beat + frames * end.beats;
    return {other.last_frame() + place, end.beats - place, 1 - frames * interval_};
  }

  std::int64_t offered(const End<Time>& end, std::int64_t beat) const {
    return beat * interval_ / end.beats;
  }

  // Moves an end's beats before a tick in which others of its process move; whether it could.
  bool burst(Runner& runner, End<Time>& end, std::int64_t until) {
    while (end.done < end.beats && end.ticks[end.done] < until) {
      const Source source = source_of(end);
      const std::int64_t count = std::min(source.count, end.beats - end.done);
      if (count <= 0) return false;
      const std::int32_t* ticks = end.ticks + end.done;
      Time* now = end.now.data() + end.done;
      std::int64_t lateness = runner.lateness, beat = 0;
      if (runner.is_input) {
        for (; beat < count && ticks[beat] < until; ++beat) {
          lateness = std::max(lateness, source.times[beat] + source.later - ticks[beat]);
          lateness = std::max(lateness, offered(end, end.done + beat) - ticks[beat]);
          now[beat] = static_cast<Time>(lateness + ticks[beat]);
        }
      } else {
        for (; beat < count && ticks[beat] < until; ++beat) {
          lateness = std::max(lateness, source.times[beat] + source.later - ticks[beat]);
          now[beat] = static_cast<Time>(lateness + ticks[beat]);
        }
      }
      runner.lateness = lateness;
      end.done += beat;
    }
    return true;
  }

  // The cycles by which the beats of active processes came later than in the frame before, or than
  // before the span, at the most.
  std::int64_t grown(bool in_span) const {
    std::int64_t most = 0;
    for (const End<Time>& end : ends_) {
      if (!runners_[end.process].active) continue;
      const Time* before = in_span ? end.span.data() : end.before.data();
      Time here = 0;
      for (std::size_t beat = 0; beat < end.now.size(); ++beat) {
        here = std::max<Time>(here, end.now[beat] - before[beat]);
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
  bool mark(std::int64_t most, bool in_span) {
    bool again = true;
    for (End<Time>& end : ends_) {
      if (!runners_[end.process].active) continue;
      const auto growth = static_cast<Time>(most);
      const Time* before = in_span ? end.span.data() : end.before.data();
      end.grew_most.resize(end.now.size(), 0);
      std::uint8_t lost = 0;
      for (std::size_t beat = 0; beat < end.now.size(); ++beat) {
        const std::uint8_t grew = end.now[beat] - before[beat] == growth;
        lost |= end.grew_most[beat] & static_cast<std::uint8_t>(grew ^ 1);
        end.grew_most[beat] = grew;
      }
      again &= lost == 0;
    }
    return again;
  }

  // Makes those processes active whose beats cannot move when they do; whether there are any. A
  // delay that travels on is so worked out in one process after the other; those that it comes
  // back to again and again stay active together, to show whether it ever ends.
  bool hold_up() {
    std::vector<std::size_t> held;
    for (std::size_t stream = 0; stream < depths_.size(); ++stream) {
      const std::size_t from = writer(stream).process, to = reader(stream).process;
      if (runners_[from].active == runners_[to].active) continue;
      const bool to_reader = runners_[from].active;
      if (to_reader ? reader_held_up(stream) : writer_held_up(stream)) {
        held.push_back(to_reader ? to : from);
      }
    }
    for (Runner& runner : runners_) runner.active &= runner.returns >= kReturns;
    for (const std::size_t index : held) {
      runners_[index].active = true;
      ++runners_[index].returns;
    }
    return !held.empty();
  }

  // Whether some active process is held up by the frame before, and so comes later in the next.
  bool goes_on() const {
    for (const Runner& runner : runners_) {
      if (!runner.active) continue;
      std::int64_t first = runner.period, cycle = 0;
      for (const std::size_t place : runner.ends) {
        const End<Time>& end = ends_[place];
        const auto stream = static_cast<std::size_t>(end.stream);
        if (end.beats > 0 && end.ticks[0] < first) {
          first = end.ticks[0];
          cycle = end.now[0];
        }
        if (end.writes && runners_[end.other->process].active && writer_held_up_across(stream)) {
          return true;
        }
      }
      if (first < runner.period && runner.lateness + runner.period - interval_ > cycle - first) {
        return true;
      }
    }
    return false;
  }

  bool reader_held_up(std::size_t stream) const {
    const Time* written = writer(stream).now.data();
    const Time* read = reader(stream).now.data();
    return any_too_early(written, read, reader(stream).beats, 0);
  }

  bool writer_held_up(std::size_t stream) const {
    const std::int64_t beats = writer(stream).beats, depth = depths_[stream];
    return (depth < beats && any_too_early(reader(stream).now.data(),
                                           writer(stream).now.data() + depth, beats - depth, 0)) ||
           writer_held_up_across(stream);
  }

  // The same, by beats read in an earlier frame.
  bool writer_held_up_across(std::size_t stream) const {
    const Time* written = writer(stream).now.data();
    const Time* read = reader(stream).now.data();
    const std::int64_t beats = writer(stream).beats, depth = depths_[stream];
    const std::int64_t frames = depth / beats, rest = depth % beats;
    return (frames > 0 &&
            any_too_early(read, written + rest, beats - rest, frames * interval_)) ||
           any_too_early(read + beats - rest, written, rest, (frames + 1) * interval_);
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

  std::int64_t interval_;
  std::vector<Runner> runners_;
  std::vector<End<Time>> ends_;  // of each stream the writer's and the reader's
  std::vector<std::int64_t> depths_;
  std::int64_t beats_ = 0;  // of all ends
  bool keeping_ = false;    // what active processes did, to go back to
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
