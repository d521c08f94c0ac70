// The program: operations in order of execution, every tensor's format proved anew.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "hwflow/archive.hpp"
#include "hwflow/fixed_point.hpp"
#include "hwflow/json.hpp"

namespace hwflow {

struct Shape {
  std::int64_t height = 0;
  std::int64_t width = 0;
  std::int64_t channels = 0;

  bool operator==(const Shape&) const = default;
  std::int64_t pixels() const { return height * width; }
  std::int64_t size() const { return height * width * channels; }
  std::string text() const;
};

// Rows above, rows below, columns left, columns right.
struct Padding {
  std::int64_t top = 0;
  std::int64_t bottom = 0;
  std::int64_t left = 0;
  std::int64_t right = 0;

  bool any() const { return top != 0 || bottom != 0 || left != 0 || right != 0; }
};

// The least and greatest raw integer that each channel can take.
struct Interval {
  std::vector<std::int64_t> low;
  std::vector<std::int64_t> high;

  std::int64_t lowest() const;
  std::int64_t highest() const;
};

// The result of an operation: the value is `raw * 2**-fraction_bits / divisor`.
struct Tensor {
  Shape shape;
  FixedPoint format;
  std::int64_t divisor = 1;
  Interval interval;
};

class Step;
struct Site;
struct Target;

// One operation; its output tensor bears its name. A kind is one file of `operations/`, which
// registers how it is read.
class Operation {
 public:
  virtual ~Operation() = default;

  std::string name;
  std::vector<std::size_t> inputs;  // indices of earlier operations

  // Shape, format and reach of the result. Throws ProgramError if the inputs do not fit or a value
  // can leave 64 bits.
  virtual Tensor infer(std::span<const Tensor* const> sources) const = 0;

  // Zeros that this operation wants around its input in memory on the given target.
  virtual Padding halo(const Target&, const Tensor& /*source*/, const Tensor& /*result*/) const {
    return {};
  }
  // Bytes of memory that its steps use for themselves.
  virtual std::int64_t scratch(const Target&, const Tensor& /*source*/,
                               const Tensor& /*result*/) const {
    return 0;
  }
  // The requantization it is, if it is one.
  virtual const Requantizer* requantizer() const { return nullptr; }
  // Whether its steps can requantize their own result to a tensor of the given reach.
  virtual bool fuses(const Target&, const Tensor& /*source*/, const Tensor& /*result*/,
                     const Requantizer&, const Tensor& /*requantized*/) const {
    return false;
  }
  // Whether it only puts its inputs side by side, so that they may be made in place.
  virtual bool joins(std::size_t /*input*/) const { return false; }
  // The work of one image, in order.
  virtual std::vector<std::unique_ptr<Step>> steps(const Target&, const Site&) const = 0;
};

// What a kind's reader is given.
struct Attributes {
  const Json& json;
  const Arrays& arrays;
  const std::string& where;

  const Json& at(const std::string& key) const { return json.at(key, where); }
  std::int64_t integer(const std::string& key) const { return at(key).integer(where + "." + key); }
  std::optional<std::int64_t> optional_integer(const std::string& key) const;
  std::vector<std::int64_t> integers(const std::string& key, int count = -1) const {
    return at(key).integers(where + "." + key, count);
  }
  bool has(const std::string& key) const;
  FixedPoint format(const std::string& key) const {
    return FixedPoint::parse(at(key), where + "." + key);
  }
  const Array& array(const std::string& key) const;
  Padding padding() const;
};

using Reader = std::unique_ptr<Operation> (*)(const Attributes&);

// Makes a kind known; one static object in each file of `operations/`.
struct RegisterKind {
  RegisterKind(const char* kind, Reader reader);
};

struct Program {
  std::string name;
  std::vector<std::unique_ptr<Operation>> operations;
  std::vector<std::size_t> inputs;
  std::vector<std::size_t> outputs;
  std::vector<Tensor> tensors;  // by operation

  // Reads the two files of an integer graph and proves every format.
  // Throws ProgramError, with the operation and attribute, for anything that does not hold.
  static Program load(std::string_view json, std::span<const std::byte> npz);
};

// --- help for the operations -------------------------------------------------------------------

// Output pixels along one axis. Throws ProgramError if the window does not fit.
std::int64_t window_count(std::int64_t size, std::int64_t before, std::int64_t after,
                          std::int64_t window, std::int64_t stride);
// Throws ProgramError unless there is exactly one source.
const Tensor& only(std::span<const Tensor* const> sources);
// Throws ProgramError if the source still has a divisor.
void require_undivided(const Tensor& source);
// `value << bits`, or ProgramError beyond 64 bits.
std::int64_t shifted(std::int64_t value, std::int64_t bits);
// Fraction bits of a tensor after a left shift. Throws ProgramError unless that is from 0 to 62.
std::int64_t shifted_unit(const Tensor& source, std::int64_t bits);
// The 128-bit value in 64 bits, or ProgramError.
std::int64_t narrowed(__int128 value);

}  // namespace hwflow
