// Whether processes joined by FIFOs can keep to an interval for ever, decided from one frame.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "dataflow.hpp"

namespace hwflow {

// What becomes of depths.
enum class Steadiness : std::int32_t {
  keeps = 0,     // every frame after the first few takes the interval
  slows = 1,     // frames take longer, by about `excess`
  blocks = 2,    // processes wait for one another
  unsettled = 3  // neither was shown within the passes allowed
};

struct SteadyResult {
  Steadiness steadiness = Steadiness::keeps;
  std::int64_t excess = 0;  // cycles a frame beyond the interval, about
  std::vector<std::int64_t> waits_for;  // by process: the stream it waits for, or -1, if it blocks
};

// The same rules as `simulate_dataflow`, with the beats at the inputs offered evenly over the
// interval. Times are kept relative to their frame's beginning, frames follow one another at the
// interval, and a frame is worked out again and again, each time from the one before, until it
// comes out as the one before did (then so do all later ones: the depths keep the interval), or
// comes out later in the same way twice (then so do all later ones: they do not).
//
// Why twice is enough. Let `most` be the cycles by which the latest-growing beats of a frame came
// later than in the frame before. A beat that is so late waited for a beat that grew as much. If
// all beats that grew by `most` in one frame do so in the next, then each of them waited for
// another of them, and the same holds of every frame to come: the interval is longer by `most`.
// That takes beats to wait for their own frame or the one before. Where a stream holds more than a
// frame, or frames several apart are compared, it is no proof: `excess` may then be off.
//
// With other depths only processes whose beats can no longer move when they did are worked out
// again; the others stand as they did, which is never too late. If the few keep the interval, those
// that they hold up are worked out next, until none is held up: then all keep it. If the few do
// not, all of them do not.
class SteadyState {
 public:
  virtual ~SteadyState() = default;
  // From nothing. Must come first, and be found to keep the interval before `change` is called.
  virtual SteadyResult settle(const std::vector<std::int64_t>& depths) = 0;
  // Makes some streams shallower, if that keeps the interval and is not only tried; otherwise
  // everything stays.
  virtual SteadyResult change(const std::vector<std::int64_t>& streams,
                              const std::vector<std::int64_t>& depths, bool only_tried) = 0;
  // By stream: the depth that the frame as it is would do with.
  virtual std::vector<std::int64_t> fill() const = 0;
};

// A process without reads is an input.
std::unique_ptr<SteadyState> steady_state(const std::vector<DataflowProcess>& processes,
                                          std::int64_t streams, std::int64_t interval);

}  // namespace hwflow
