#include "hwflow/archive.hpp"

#include <array>
#include <charconv>
#include <cstring>
#include <string_view>

#include "hwflow/error.hpp"

namespace hwflow {
namespace {

using Bytes = std::span<const std::uint8_t>;

[[noreturn]] void fail(const std::string& message) {
  throw ProgramError("the program's arrays: " + message);
}

std::uint32_t little(Bytes bytes, std::size_t at, int size) {
  if (at > bytes.size() || bytes.size() - at < static_cast<std::size_t>(size)) {
    fail("the archive ends too early");
  }
  std::uint32_t value = 0;
  for (int i = 0; i < size; ++i) value |= static_cast<std::uint32_t>(bytes[at + i]) << (8 * i);
  return value;
}

std::uint32_t crc32(Bytes bytes) {
  static const auto table = [] {
    std::array<std::uint32_t, 256> entries{};
    for (std::uint32_t i = 0; i < 256; ++i) {
      std::uint32_t value = i;
      for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ (value & 1 ? 0xEDB88320u : 0u);
      entries[i] = value;
    }
    return entries;
  }();
  std::uint32_t crc = 0xFFFFFFFFu;
  for (const std::uint8_t byte : bytes) crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8);
  return ~crc;
}

// The text after `'key':` in a .npy header.
std::string_view after_key(std::string_view header, const char* key) {
  const std::string quoted = "'" + std::string(key) + "':";
  const std::size_t at = header.find(quoted);
  if (at == std::string_view::npos) fail("a .npy header lacks " + quoted);
  header.remove_prefix(at + quoted.size());
  while (!header.empty() && header.front() == ' ') header.remove_prefix(1);
  return header;
}

std::vector<std::int64_t> parse_shape(std::string_view text) {
  std::vector<std::int64_t> shape;
  if (text.empty() || text.front() != '(') fail("a .npy header has no shape");
  text.remove_prefix(1);
  while (true) {
    while (!text.empty() && (text.front() == ' ' || text.front() == ',')) text.remove_prefix(1);
    if (text.empty()) fail("a .npy header's shape does not end");
    if (text.front() == ')') return shape;
    std::int64_t size = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), size);
    if (error != std::errc() || size < 0 || shape.size() == 8) {
      fail("a .npy header's shape is malformed");
    }
    shape.push_back(size);
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  }
}

template <typename T>
void widen(Bytes data, std::vector<std::int64_t>& values) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    T value;
    std::memcpy(&value, data.data() + i * sizeof(T), sizeof(T));
    values[i] = value;
  }
}

Array parse_npy(Bytes file, const std::string& name) {
  if (file.size() < 10 || std::memcmp(file.data(), "\x93NUMPY", 6) != 0) {
    fail("'" + name + "' is not a .npy file");
  }
  const bool first_version = file[6] == 1;
  const std::size_t start = first_version ? 10 : 12;
  const std::size_t length = little(file, 8, first_version ? 2 : 4);
  if (file.size() < start || file.size() - start < length) fail("'" + name + "' is truncated");
  const std::string_view header(reinterpret_cast<const char*>(file.data()) + start, length);
  if (!after_key(header, "fortran_order").starts_with("False")) {
    fail("'" + name + "' is not in row-major order");
  }
  const std::string_view descr = after_key(header, "descr");
  if (descr.size() < 5 || descr[0] != '\'' || descr[2] != 'i' || descr[4] != '\'' ||
      (descr[1] != '<' && !(descr[1] == '|' && descr[3] == '1'))) {
    fail("'" + name + "' does not hold little-endian signed integers");
  }
  const std::size_t item = static_cast<std::size_t>(descr[3] - '0');
  Array array;
  array.shape = parse_shape(after_key(header, "shape"));
  const Bytes data = file.subspan(start + length);
  std::size_t count = 1;
  for (const std::int64_t size : array.shape) {
    if (size != 0 && count > data.size() / static_cast<std::size_t>(size)) {
      fail("'" + name + "' is shorter than its shape");
    }
    count *= static_cast<std::size_t>(size);
  }
  if (item == 0 || item > 8 || data.size() / item < count || data.size() != count * item) {
    fail("'" + name + "' has another size than its shape");
  }
  array.values.resize(count);
  switch (item) {
    case 1:
      widen<std::int8_t>(data, array.values);
      break;
    case 2:
      widen<std::int16_t>(data, array.values);
      break;
    case 4:
      widen<std::int32_t>(data, array.values);
      break;
    case 8:
      widen<std::int64_t>(data, array.values);
      break;
    default:
      fail("'" + name + "' has integers of " + std::to_string(item) + " bytes");
  }
  return array;
}

std::size_t find_directory(Bytes bytes) {
  if (bytes.size() < 22) fail("not a .npz archive");
  for (std::size_t at = bytes.size() - 22;; --at) {
    if (little(bytes, at, 4) == 0x06054B50u) return at;
    if (at == 0 || bytes.size() - at > 22 + 65535) fail("not a .npz archive");
  }
}

}  // namespace

Arrays read_npz(std::span<const std::byte> raw) {
  const Bytes bytes(reinterpret_cast<const std::uint8_t*>(raw.data()), raw.size());
  const std::size_t end = find_directory(bytes);
  const std::uint32_t entries = little(bytes, end + 10, 2);
  std::size_t at = little(bytes, end + 16, 4);
  Arrays arrays;
  for (std::uint32_t entry = 0; entry < entries; ++entry) {
    if (little(bytes, at, 4) != 0x02014B50u) fail("a damaged directory");
    const std::uint32_t method = little(bytes, at + 10, 2);
    const std::uint32_t crc = little(bytes, at + 16, 4);
    const std::size_t packed = little(bytes, at + 20, 4);
    const std::size_t size = little(bytes, at + 24, 4);
    const std::size_t name_size = little(bytes, at + 28, 2);
    const std::size_t skip = little(bytes, at + 30, 2) + little(bytes, at + 32, 2);
    const std::size_t local = little(bytes, at + 42, 4);
    if (bytes.size() - at - 46 < name_size) fail("a damaged directory");
    std::string name(reinterpret_cast<const char*>(bytes.data()) + at + 46, name_size);
    at += 46 + name_size + skip;
    if (little(bytes, local, 4) != 0x04034B50u) fail("a damaged entry");
    const std::size_t data = local + 30 + little(bytes, local + 26, 2) + little(bytes, local + 28, 2);
    if (data > bytes.size() || bytes.size() - data < packed) fail("'" + name + "' is truncated");
    const Bytes stream = bytes.subspan(data, packed);
    std::vector<std::uint8_t> inflated;
    Bytes file = stream;
    if (method == 8) {
      inflated = inflate(stream, size);
      file = inflated;
    } else if (method != 0 || packed != size) {
      fail("'" + name + "' is packed in an unknown way");
    }
    if (crc32(file) != crc) fail("'" + name + "' is damaged");
    if (!name.ends_with(".npy")) fail("'" + name + "' is not an array");
    name.resize(name.size() - 4);
    Array array = parse_npy(file, name);
    if (!arrays.emplace(name, std::move(array)).second) fail("'" + name + "' occurs twice");
  }
  return arrays;
}

}  // namespace hwflow
