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
  slows = 1,     // frames take longer
  blocks = 2,    // processes wait for one another
  unsettled = 3  // none of them was shown within the passes allowed
};

struct SteadyResult {
  Steadiness steadiness = Steadiness::keeps;
  std::int64_t interval = 0;  // of frames in the long run; if they slow, at the least
  std::int64_t depth_needed = 0;  // if one stream's depth slows: lesser ones do too; 0 if not known
  std::vector<std::int64_t> waits_for;  // by process: the stream it waits for, or -1, if it blocks
};

// The same rules as `simulate_dataflow`, with the beats at the inputs offered evenly over the
// interval. Times are kept relative to their frame's beginning, frames follow one another at the
// interval, and a frame is worked out again and again, each time from the one before, until
//
// - it comes out as the one before did; then so do all later ones: the depths keep the interval; or
// - some beats are found that come after one another in a cycle which takes longer than the
//   interval for each frame that it spans (`DependencyCycle`): no frames come closer than that.
//
// With other depths only processes whose beats can no longer move when they did are worked out
// again; the others stand as they did, which is never too late. If the few keep the interval, those
// that they hold up are worked out next, until none is held up: then all keep it.
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
  // Becomes as another state of the same network and interval is.
  virtual void follow(const SteadyState& other) = 0;
};

// A process without reads is an input.
std::unique_ptr<SteadyState> steady_state(const std::vector<DataflowProcess>& processes,
                                          std::int64_t streams, std::int64_t interval);

}  // namespace hwflow
