// Reads the arrays of a program: NumPy's .npz, stored or deflated.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace hwflow {

// An array of integers in row-major order.
struct Array {
  std::vector<std::int64_t> shape;
  std::vector<std::int64_t> values;
};

using Arrays = std::map<std::string, Array>;

// All arrays of an .npz by name (without ".npy"). Throws ProgramError if it is malformed, damaged
// (CRC-32) or holds anything but little-endian signed integers of 1, 2, 4 or 8 bytes.
Arrays read_npz(std::span<const std::byte> bytes);

// Raw DEFLATE (RFC 1951) of exactly `size` bytes. Throws ProgramError if the stream is malformed.
std::vector<std::uint8_t> inflate(std::span<const std::uint8_t> stream, std::size_t size);

}  // namespace hwflow
