// The errors that the engine reports; nothing else leaves it.
#pragma once

#include <stdexcept>
#include <string>

namespace hwflow {

// The program is malformed, contradicts itself or exceeds what the engine can hold.
class ProgramError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// The arrays or options of one run are not what the program asks for.
class InputError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// The caller's progress function asked to stop.
class Cancelled : public std::runtime_error {
 public:
  Cancelled() : std::runtime_error("cancelled") {}
};

}  // namespace hwflow
