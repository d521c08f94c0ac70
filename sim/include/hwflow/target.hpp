// The instruction sets that the engine can be told to use.
#pragma once

#include <string>
#include <vector>

#include "hwflow/fixed_point.hpp"
#include "hwflow/kernels.hpp"
#include "hwflow/program.hpp"

namespace hwflow {

struct Target {
  std::string name;
  const Kernels* kernels = nullptr;  // null on the portable path

  // The names that this machine can run, the fastest first; the last is "portable".
  static std::vector<std::string> available();
  // The named one, or the fastest if the name is empty. Throws InputError if it cannot run here.
  static Target choose(const std::string& name);
};

// Whether kernels can requantize 32-bit sums of `result` into `requantized`.
bool can_finish(const Tensor& result, const Requantizer& requantizer, const Tensor& requantized);
// How: `requantizer` may be null (sums are stored).
Finish finish_of(const Requantizer* requantizer, const Tensor& stored);
// Whether every value of the tensor is an int32.
bool is_int32(const Tensor& tensor);

}  // namespace hwflow
