// A JSON reader for the program's document: strict, bounded in depth, integers exact.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace hwflow {

class Json {
 public:
  using Array = std::vector<Json>;
  using Object = std::vector<std::pair<std::string, Json>>;

  // Parses one document. Throws ProgramError with the byte offset of the first fault.
  static Json parse(std::string_view text);

  Json() = default;
  template <typename T>
  explicit Json(T value) : value_(std::move(value)) {}

  // Typed access; each throws ProgramError naming `where` if the value is of another type.
  std::int64_t integer(const std::string& where) const;
  bool boolean(const std::string& where) const;
  const std::string& string(const std::string& where) const;
  const Array& array(const std::string& where) const;
  const Object& object(const std::string& where) const;

  // A member of an object; throws ProgramError if it is missing.
  const Json& at(const std::string& key, const std::string& where) const;
  // A list of `count` integers (any number if negative).
  std::vector<std::int64_t> integers(const std::string& where, int count = -1) const;
  // A list of strings.
  std::vector<std::string> strings(const std::string& where) const;

 private:
  std::variant<std::nullptr_t, bool, std::int64_t, double, std::string, Array, Object> value_;
};

}  // namespace hwflow
