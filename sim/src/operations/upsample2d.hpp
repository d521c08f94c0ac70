// What both upsamplings share: whole factors.
#pragma once

#include "hwflow/error.hpp"
#include "hwflow/execution.hpp"

namespace hwflow {

struct Upsample2D {
  std::int64_t rows = 1;
  std::int64_t columns = 1;

  static Upsample2D read(const Attributes& attributes) {
    const auto factors = attributes.integers("factors", 2);
    for (const auto factor : factors) {
      if (factor < 1 || factor > (1 << 10)) throw ProgramError("impossible factors");
    }
    return {factors[0], factors[1]};
  }

  Shape shape(const Shape& in) const {
    return {in.height * rows, in.width * columns, in.channels};
  }
};

}  // namespace hwflow
