// Malformed programs: each is refused with a ProgramError or runs alike on every path.
#pragma once

namespace hwflow_test {

struct FuzzReport {
  long refused = 0;
  long loaded = 0;
  long run = 0;
};

// Throws std::logic_error if two paths differ or anything but a ProgramError is thrown.
FuzzReport fuzz(long rounds);

}  // namespace hwflow_test
