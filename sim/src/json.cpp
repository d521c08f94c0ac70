#include "hwflow/json.hpp"

#include <charconv>

#include "hwflow/error.hpp"

namespace hwflow {
namespace {

constexpr int kDeepest = 64;

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  Json document() {
    Json value = element(0);
    skip_space();
    if (position_ != text_.size()) fail("nothing may follow the document");
    return value;
  }

 private:
  [[noreturn]] void fail(const std::string& message) const {
    throw ProgramError("byte " + std::to_string(position_) + " of the program: " + message);
  }

  void skip_space() {
    while (position_ < text_.size() &&
           (text_[position_] == ' ' || text_[position_] == '\n' || text_[position_] == '\t' ||
            text_[position_] == '\r')) {
      ++position_;
    }
  }

  char peek() const { return position_ < text_.size() ? text_[position_] : '\0'; }

  void expect(char wanted) {
    skip_space();
    if (position_ >= text_.size() || text_[position_] != wanted) {
      fail(std::string("'") + wanted + "' expected");
    }
    ++position_;
  }

  bool take(std::string_view word) {
    if (text_.substr(position_, word.size()) != word) return false;
    position_ += word.size();
    return true;
  }

  Json element(int depth) {
    if (depth > kDeepest) fail("nested too deeply");
    skip_space();
    switch (peek()) {
      case '{':
        return Json(object(depth));
      case '[':
        return Json(array(depth));
      case '"':
        return Json(string());
      case 't':
        if (take("true")) return Json(true);
        break;
      case 'f':
        if (take("false")) return Json(false);
        break;
      case 'n':
        if (take("null")) return Json(nullptr);
        break;
      default:
        if (peek() == '-' || (peek() >= '0' && peek() <= '9')) return number();
    }
    fail("a value expected");
  }

  Json::Object object(int depth) {
    Json::Object members;
    expect('{');
    skip_space();
    if (peek() == '}') {
      ++position_;
      return members;
    }
    while (true) {
      skip_space();
      std::string key = string();
      expect(':');
      members.emplace_back(std::move(key), element(depth + 1));
      skip_space();
      if (peek() != ',') break;
      ++position_;
    }
    expect('}');
    return members;
  }

  Json::Array array(int depth) {
    Json::Array items;
    expect('[');
    skip_space();
    if (peek() == ']') {
      ++position_;
      return items;
    }
    while (true) {
      items.push_back(element(depth + 1));
      skip_space();
      if (peek() != ',') break;
      ++position_;
    }
    expect(']');
    return items;
  }

  Json number() {
    const std::size_t start = position_;
    bool whole = true;
    while (position_ < text_.size()) {
      const char c = text_[position_];
      if (c == '.' || c == 'e' || c == 'E' || c == '+') {
        whole = false;
      } else if (c != '-' && (c < '0' || c > '9')) {
        break;
      }
      ++position_;
    }
    const char* first = text_.data() + start;
    const char* last = text_.data() + position_;
    if (whole) {
      std::int64_t value = 0;
      const auto [end, error] = std::from_chars(first, last, value);
      if (error == std::errc() && end == last) return Json(value);
    } else {
      double value = 0;
      const auto [end, error] = std::from_chars(first, last, value);
      if (error == std::errc() && end == last) return Json(value);
    }
    position_ = start;
    fail("not a number of 64 bits");
  }

  unsigned hexadecimal() {
    unsigned code = 0;
    if (text_.size() - position_ < 4) fail("four hexadecimal digits expected");
    const char* first = text_.data() + position_;
    const auto [end, error] = std::from_chars(first, first + 4, code, 16);
    if (error != std::errc() || end != first + 4) fail("four hexadecimal digits expected");
    position_ += 4;
    return code;
  }

  static void append_utf8(std::string& text, unsigned code) {
    if (code < 0x80) {
      text += static_cast<char>(code);
    } else if (code < 0x800) {
      text += static_cast<char>(0xC0 | (code >> 6));
      text += static_cast<char>(0x80 | (code & 0x3F));
    } else if (code < 0x10000) {
      text += static_cast<char>(0xE0 | (code >> 12));
      text += static_cast<char>(0x80 | ((code >> 6) & 0x3F));
      text += static_cast<char>(0x80 | (code & 0x3F));
    } else {
      text += static_cast<char>(0xF0 | (code >> 18));
      text += static_cast<char>(0x80 | ((code >> 12) & 0x3F));
      text += static_cast<char>(0x80 | ((code >> 6) & 0x3F));
      text += static_cast<char>(0x80 | (code & 0x3F));
    }
  }

  void escape(std::string& text) {
    const char kind = peek();
    ++position_;
    switch (kind) {
      case '"':
      case '\\':
      case '/':
        text += kind;
        return;
      case 'b':
        text += '\b';
        return;
      case 'f':
        text += '\f';
        return;
      case 'n':
        text += '\n';
        return;
      case 'r':
        text += '\r';
        return;
      case 't':
        text += '\t';
        return;
      case 'u': {
        unsigned code = hexadecimal();
        if (code >= 0xD800 && code < 0xDC00) {
          if (!take("\\u")) fail("half of a surrogate pair");
          const unsigned low = hexadecimal();
          if (low < 0xDC00 || low > 0xDFFF) fail("half of a surrogate pair");
          code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
        } else if (code >= 0xDC00 && code < 0xE000) {
          fail("half of a surrogate pair");
        }
        append_utf8(text, code);
        return;
      }
      default:
        fail("unknown escape");
    }
  }

  std::string string() {
    if (peek() != '"') fail("a string expected");
    ++position_;
    std::string text;
    while (true) {
      if (position_ >= text_.size()) fail("the string does not end");
      const char c = text_[position_];
      ++position_;
      if (c == '"') return text;
      if (c == '\\') {
        escape(text);
      } else if (static_cast<unsigned char>(c) < 0x20) {
        fail("a control character in a string");
      } else {
        text += c;
      }
    }
  }

  std::string_view text_;
  std::size_t position_ = 0;
};

template <typename T, typename V>
const T& as(const V& value, const std::string& where, const char* wanted) {
  if (const T* held = std::get_if<T>(&value)) return *held;
  throw ProgramError(where + ": must be " + wanted);
}

}  // namespace

Json Json::parse(std::string_view text) { return Parser(text).document(); }

std::int64_t Json::integer(const std::string& where) const {
  return as<std::int64_t>(value_, where, "an integer");
}

bool Json::boolean(const std::string& where) const {
  return as<bool>(value_, where, "true or false");
}

const std::string& Json::string(const std::string& where) const {
  return as<std::string>(value_, where, "a string");
}

const Json::Array& Json::array(const std::string& where) const {
  return as<Array>(value_, where, "a list");
}

const Json::Object& Json::object(const std::string& where) const {
  return as<Object>(value_, where, "an object");
}

const Json& Json::at(const std::string& key, const std::string& where) const {
  for (const auto& [name, value] : object(where)) {
    if (name == key) return value;
  }
  throw ProgramError(where + ": '" + key + "' is missing");
}

std::vector<std::int64_t> Json::integers(const std::string& where, int count) const {
  std::vector<std::int64_t> result;
  for (const Json& item : array(where)) result.push_back(item.integer(where));
  if (count >= 0 && result.size() != static_cast<std::size_t>(count)) {
    throw ProgramError(where + ": must have " + std::to_string(count) + " integers, not " +
                       std::to_string(result.size()));
  }
  return result;
}

std::vector<std::string> Json::strings(const std::string& where) const {
  std::vector<std::string> result;
  for (const Json& item : array(where)) result.push_back(item.string(where));
  return result;
}

}  // namespace hwflow
