// From a program to steps over one arena: what is fused, what lies where, what is kept.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "hwflow/execution.hpp"
#include "hwflow/target.hpp"

namespace hwflow {

// Places blocks of memory that are needed during [first, last] so that no two that live at the same
// time overlap. Returns the arena's size.
struct Block {
  std::int64_t size = 0;
  std::int64_t first = 0;
  std::int64_t last = 0;
  std::int64_t offset = 0;  // the result
};
std::int64_t place(std::vector<Block>& blocks);

// A plan for one target and one choice of kept tensors.
class Plan {
 public:
  // `kept[i]` asks that the result of operation i can be read after the last step; outputs always
  // can.
  Plan(const Program& program, const Target& target, std::vector<bool> kept);

  const Steps& steps() const { return steps_; }
  std::int64_t arena_bytes() const { return arena_bytes_; }
  // Where a kept tensor or an input lies.
  const View& view(std::size_t operation) const { return views_[operation]; }

 private:
  void fuse(const Program& program, const Target& target);
  void join(const Program& program);
  void surround(const Program& program, const Target& target);
  void lay_out(const Program& program, const Target& target);
  void lower(const Program& program, const Target& target);
  std::size_t root(std::size_t tensor) const;

  std::vector<bool> kept_;
  std::vector<std::vector<std::size_t>> consumers_;
  std::vector<std::size_t> absorbed_;   // the requantization that an operation takes over, or itself
  std::vector<std::size_t> maker_;      // the operation whose steps write a tensor
  std::vector<std::size_t> joined_;     // the concatenation that a tensor lies in, or itself
  std::vector<std::int64_t> channel_;   // where in it
  std::vector<Padding> halo_;           // by root
  std::vector<std::int64_t> scratch_;   // offsets by operation
  std::vector<View> views_;
  Steps steps_;
  std::int64_t arena_bytes_ = 0;
};

}  // namespace hwflow
