#include "support.hpp"

#include <cstdio>
#include <random>
#include <stdexcept>

#include "hwflow/error.hpp"

namespace hwflow_test {
namespace {

std::vector<std::pair<std::string, std::function<void()>>>& tests() {
  static std::vector<std::pair<std::string, std::function<void()>>> all;
  return all;
}

std::string little(std::uint32_t value, int size) {
  std::string text;
  for (int i = 0; i < size; ++i) text += static_cast<char>((value >> (8 * i)) & 0xFF);
  return text;
}

std::uint32_t crc32(const std::string& data) {
  std::uint32_t crc = 0xFFFFFFFFu;
  for (const char c : data) {
    crc ^= static_cast<unsigned char>(c);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ (crc & 1 ? 0xEDB88320u : 0u);
  }
  return ~crc;
}

std::string format(int width, int integer_bits, bool is_signed, const std::string& rounding,
                   const std::string& overflow) {
  return R"({"width": )" + std::to_string(width) + R"(, "integer_bits": )" +
         std::to_string(integer_bits) + R"(, "signed": )" + (is_signed ? "true" : "false") +
         R"(, "rounding": ")" + rounding + R"(", "overflow": ")" + overflow + "\"}";
}

// The object of a format that the loader's messages write as `ufixed<8,3,TRN,WRAP>`.
std::string format_of(std::string text) {
  const bool is_signed = text[0] != 'u';
  text = text.substr(text.find('<') + 1);
  std::vector<std::string> parts;
  for (std::size_t at = 0; parts.size() < 4;) {
    const auto stop = text.find_first_of(",>", at);
    parts.push_back(text.substr(at, stop - at));
    at = stop + 1;
  }
  return format(std::stoi(parts[0]), std::stoi(parts[1]), is_signed, parts[2], parts[3]);
}

// Writes a program operation by operation.
class Writer {
 public:
  Writer& operation(const std::string& name, const std::string& kind,
                    const std::vector<std::string>& inputs, const std::string& attributes) {
    std::string list;
    for (const auto& input : inputs) list += (list.empty() ? "\"" : ", \"") + input + "\"";
    operations_.push_back(R"({"name": ")" + name + R"(", "kind": ")" + kind + R"(", "inputs": [)" +
                          list + R"(], "attributes": {)" + attributes + "}}");
    names_.push_back(name);
    return *this;
  }

  Writer& conv(const std::string& name, const std::string& source,
               const std::vector<std::int64_t>& shape, int groups, int padding, int stride,
               bool by_channel = false, int dilation = 1) {
    std::string scaled;
    if (by_channel) {
      std::vector<std::int8_t> shifts(static_cast<std::size_t>(shape[3]));
      for (auto& bits : shifts) bits = static_cast<std::int8_t>(random_() % 8);
      files_[name + "/channel_shifts.npy"] = npy({shape[3]}, shifts);
      scaled = R"(, "channel_shifts": {"array": ")" + name + R"(/channel_shifts"})";
    }
    if (dilation != 1) {
      const std::string apart = std::to_string(dilation);
      scaled += R"(, "dilation": [)" + apart + ", " + apart + "]";
    }
    std::vector<std::int8_t> weights;
    for (std::int64_t i = 0; i < shape[0] * shape[1] * shape[2] * shape[3]; ++i) {
      weights.push_back(static_cast<std::int8_t>(random_()));
    }
    std::vector<std::int8_t> biases(static_cast<std::size_t>(shape[3]));
    for (auto& bias : biases) bias = static_cast<std::int8_t>(random_());
    files_[name + "/weights.npy"] = npy(shape, weights);
    files_[name + "/biases.npy"] = npy({shape[3]}, biases);
    const std::string side = std::to_string(padding);
    const std::string step = std::to_string(stride);
    return operation(name, "conv2d", {source},
                     R"("weights": {"array": ")" + name + R"(/weights"}, "biases": {"array": ")" +
                         name + R"(/biases"}, "weight_format": )" +
                         format(8, 4, true, "RND_CONV", "SAT") + R"(, "strides": [)" + step + ", " +
                         step + R"(], "padding": [)" + side + ", " + side + ", " + side + ", " +
                         side + R"(], "groups": )" + std::to_string(groups) +
                         R"(, "product_shift": 0)" + scaled);
  }

  Writer& requantize(const std::string& name, const std::string& source, int fraction_bits,
                     const std::string& to, int divisor = 1) {
    return operation(name, "requantize", {source},
                     R"("format": )" + to + R"(, "fraction_bits": )" +
                         std::to_string(fraction_bits) + R"(, "divisor": )" +
                         std::to_string(divisor));
  }

  // A function of bytes with results from -127 to 127.
  Writer& table(const std::string& name, const std::string& source, const std::string& to) {
    std::vector<std::int8_t> values(256);
    for (auto& value : values) value = static_cast<std::int8_t>(random_() % 255) - 127;
    files_[name + "/values.npy"] = npy({256}, values);
    return operation(name, "table", {source},
                     R"("values": {"array": ")" + name + R"(/values"}, "format": )" + to +
                         R"(, "is_signed": true)");
  }

  // Exponentials of int8 that fall by a factor.
  Writer& softmax(const std::string& name, const std::string& source, const std::string& to) {
    std::vector<std::int8_t> table;
    for (int value = 127; value > 0; value = value * 7 / 8) {
      table.push_back(static_cast<std::int8_t>(value));
    }
    table.push_back(0);
    const auto size = static_cast<std::int64_t>(table.size());
    files_[name + "/table.npy"] = npy({size}, table);
    return operation(name, "softmax", {source},
                     R"("table": {"array": ")" + name + R"(/table"}, "format": )" + to);
  }

  Case finish(const std::vector<std::string>& outputs) const {
    Case made{text(outputs), files_};
    if (!reconcile(made)) throw std::logic_error("the loader never agreed: " + made.json);
    return made;
  }

 private:
  std::string text(const std::vector<std::string>& outputs) const {
    std::string program;
    for (const auto& operation : operations_) program += (program.empty() ? "" : ",\n") + operation;
    std::string tensors;
    for (const auto& name : names_) {
      tensors += (tensors.empty() ? "\"" : ",\n\"") + name + R"(": {"shape": [1, 1, 1], "format": )" +
                 format(1, 1, false, "TRN", "WRAP") + R"(, "divisor": 1, "range": [0, 0]})";
    }
    std::string list;
    for (const auto& output : outputs) list += (list.empty() ? "\"" : ", \"") + output + "\"";
    return R"({"format": "hwflow-integer-graph", "version": 1, "name": "case", "inputs": ["x"],)"
           "\n\"outputs\": [" + list + "],\n\"operations\": [" + program + "],\n\"tensors\": {" +
           tensors + "}}\n";
  }

  std::mt19937 random_{7};
  std::vector<std::string> operations_;
  std::vector<std::string> names_;
  Files files_;
};

std::string input(int height, int width, int channels, const std::string& kept) {
  return R"("shape": [)" + std::to_string(height) + ", " + std::to_string(width) + ", " +
         std::to_string(channels) + R"(], "format": )" + kept;
}

}  // namespace

RegisterTest::RegisterTest(const char* name, std::function<void()> body) {
  tests().emplace_back(name, std::move(body));
}

int run_all_tests() {
  int failed = 0;
  for (const auto& [name, body] : tests()) {
    try {
      body();
      std::printf("pass  %s\n", name.c_str());
    } catch (const std::exception& error) {
      std::printf("FAIL  %s: %s\n", name.c_str(), error.what());
      ++failed;
    }
    std::fflush(stdout);
  }
  return failed;
}

void check(bool holds, const std::string& message) {
  if (!holds) throw std::logic_error(message);
}

void check_refused(const std::function<void()>& work, const std::string& part) {
  try {
    work();
  } catch (const hwflow::ProgramError& error) {
    const std::string text = error.what();
    check(text.find(part) != std::string::npos, "'" + text + "' does not say '" + part + "'");
    return;
  }
  throw std::logic_error("not refused, though it should say '" + part + "'");
}

std::string npy(const std::vector<std::int64_t>& shape, const std::vector<std::int8_t>& values) {
  std::string sides;
  for (const auto side : shape) sides += std::to_string(side) + ", ";
  std::string header = "{'descr': '|i1', 'fortran_order': False, 'shape': (" + sides + "), }";
  while ((header.size() + 11) % 64 != 0) header += ' ';
  header += '\n';
  std::string file = "\x93NUMPY\x01";
  file += '\0';
  file += little(static_cast<std::uint32_t>(header.size()), 2) + header;
  return file + std::string(values.begin(), values.end());
}

std::string npz(const Files& files) {
  std::string archive;
  std::string directory;
  for (const auto& [name, data] : files) {
    const auto size = static_cast<std::uint32_t>(data.size());
    const std::string common = little(20, 2) + little(0, 2) + little(0, 2) + little(0, 4) +
                               little(crc32(data), 4) + little(size, 4) + little(size, 4) +
                               little(static_cast<std::uint32_t>(name.size()), 2);
    directory += "PK\x01\x02" + little(20, 2) + common + little(0, 2) + little(0, 2) +
                 little(0, 2) + little(0, 2) + little(0, 4) +
                 little(static_cast<std::uint32_t>(archive.size()), 4) + name;
    archive += "PK\x03\x04" + common + little(0, 2) + name + data;
  }
  const auto count = static_cast<std::uint32_t>(files.size());
  return archive + directory + "PK\x05\x06" + little(0, 4) + little(count, 2) + little(count, 2) +
         little(static_cast<std::uint32_t>(directory.size()), 4) +
         little(static_cast<std::uint32_t>(archive.size()), 4) + little(0, 2);
}

std::span<const std::byte> bytes_of(const std::string& text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

bool reconcile(Case& program) {
  for (int round = 0; round < 100; ++round) {
    std::string message;
    try {
      (void)program.load();
      return true;
    } catch (const hwflow::ProgramError& error) {
      message = error.what();
    }
    const auto colon = message.find(": ");
    if (!message.starts_with("tensors.") || colon == std::string::npos) return false;
    const auto entry = program.json.rfind("\"" + message.substr(8, colon - 8) + "\": {\"shape\"");
    if (entry == std::string::npos) return false;
    const auto replace = [&](const char* lead, const char* ends, const std::string& by) {
      const auto start = program.json.find(lead, entry);
      if (start == std::string::npos) return false;
      const auto first = start + std::string(lead).size();
      const auto last = program.json.find_first_of(ends, first);
      if (last == std::string::npos) return false;
      program.json.replace(first, last - first, by);
      return true;
    };
    const auto after = [&](const std::string& lead) {
      const auto at = message.find(lead);
      return at == std::string::npos ? std::string() : message.substr(at + lead.size());
    };
    const std::string shape = after("shape than (");
    const std::string made = after("operation makes ");
    const std::string divisor = after("divisor than ");
    bool done = false;
    if (!shape.empty()) done = replace("\"shape\": [", "]", shape.substr(0, shape.find(')')));
    if (!made.empty()) {
      const std::string wanted = format_of(made);
      done = replace("\"format\": {", "}", wanted.substr(1, wanted.size() - 2));
    }
    if (!divisor.empty()) {
      done = replace("\"divisor\": ", ",}", divisor.substr(0, divisor.find(',')));
    }
    if (!done) return false;
  }
  return false;
}

std::vector<Case> cases() {
  const std::string u8 = format(8, 4, false, "RND_CONV", "SAT");
  const std::string s8 = format(8, 4, true, "RND_INF", "SAT_SYM");
  const std::string wrap = format(5, 2, true, "TRN_ZERO", "WRAP");
  const std::string wide = format(20, 8, true, "RND", "SAT_ZERO");
  std::vector<Case> made;
  made.push_back(Writer()
                     .operation("x", "input", {}, input(6, 7, 3, u8))
                     .conv("c1", "x", {3, 3, 3, 20}, 1, 1, 1)
                     .requantize("a", "c1", 8, u8)
                     .conv("c2", "a", {1, 1, 20, 4}, 1, 0, 1, true)
                     .requantize("b", "c2", 8, u8)
                     .operation("cat", "concatenate", {"a", "b"}, R"("shifts": [0, 0])")
                     .operation("pool", "max_pool2d", {"cat"},
                                R"("window": [3, 2], "strides": [2, 1], "padding": [1, 0, 0, 1])")
                     .operation("some", "select_channels", {"pool"},
                                R"("channels": [23, 0, 4, 5, 6, 7, 0, 11])")
                     .operation("sum", "sum_pool2d", {"some"},
                                R"("window": [3, 2], "strides": [1, 1], "padding": [0, 0, 0, 0])")
                     .requantize("y", "sum", 4, s8, 6)
                     .finish({"y", "pool"}));
  made.push_back(Writer()
                     .operation("x", "input", {}, input(5, 5, 70, s8))
                     .conv("c1", "x", {3, 3, 1, 70}, 70, 1, 2, true)
                     .requantize("a", "c1", 8, s8)
                     .conv("c2", "a", {3, 3, 1, 70}, 70, 1, 1)
                     .requantize("b", "c2", 8, s8)
                     .operation("add", "add", {"a", "b"}, R"("shifts": [0, 0])")
                     .requantize("y", "add", 4, s8)
                     .finish({"y"}));
  made.push_back(Writer()
                     .operation("x", "input", {}, input(7, 6, 5, u8))
                     .conv("c1", "x", {3, 3, 5, 9}, 1, 2, 1, false, 2)
                     .requantize("a", "c1", 8, s8)
                     .conv("c2", "a", {3, 3, 1, 9}, 9, 6, 1, true, 6)
                     .requantize("b", "c2", 8, u8)
                     .conv("c3", "b", {2, 3, 3, 6}, 3, 0, 1, false, 2)
                     .requantize("d", "c3", 8, wide)
                     .operation("f", "frame2d", {"d"}, R"("padding": [1, -1, 2, -1])")
                     .conv("c4", "f", {3, 2, 6, 4}, 1, 3, 1, false, 3)
                     .requantize("y", "c4", 16, wide)
                     .finish({"y", "c3"}));
  made.push_back(Writer()
                     .operation("x", "input", {}, input(4, 3, 8, wide))
                     .conv("c1", "x", {2, 2, 4, 6}, 2, 1, 1)
                     .requantize("a", "c1", 16, wrap)
                     .conv("c2", "a", {1, 2, 6, 3}, 1, 0, 1)
                     .requantize("y", "c2", 7, wide)
                     .finish({"y", "c1"}));
  made.push_back(Writer()
                     .operation("x", "input", {}, input(5, 4, 18, s8))
                     .table("a", "x", s8)
                     .operation("pool", "sum_pool2d", {"a"},
                                R"("window": [5, 4], "strides": [1, 1], "padding": [0, 0, 0, 0])")
                     .requantize("b", "pool", 4, u8, 20)
                     .operation("c1", "multiply", {"a", "b"}, "")
                     .operation("c", "requantize", {"c1"},
                                R"("format": )" + s8 +
                                    R"(, "fraction_bits": 8, "divisor": 1, "maximum": 90)")
                     .operation("c2", "multiply", {"c", "a"}, "")
                     .requantize("y", "c2", 8, wrap)
                     .finish({"y"}));
  made.push_back(Writer()
                     .operation("x", "input", {}, input(3, 2, 5, s8))
                     .operation("up", "upsample_bilinear2d", {"x"}, R"("factors": [2, 3])")
                     .requantize("a", "up", 6, u8, 3)
                     .operation("y", "upsample_nearest2d", {"a"}, R"("factors": [1, 2])")
                     .operation("i", "top_k_indices", {"a"}, R"("k": 2)")
                     .operation("v", "top_k_values", {"a"}, R"("k": 5)")
                     .finish({"y", "a", "i", "v"}));
  made.push_back(Writer()
                     .operation("x", "input", {}, input(3, 2, 19, s8))
                     .operation("up", "upsample_bilinear2d", {"x"}, R"("factors": [2, 4])")
                     .requantize("a", "up", 9, s8)
                     .operation("y", "upsample_nearest2d", {"a"}, R"("factors": [2, 1])")
                     .operation("i", "top_k_indices", {"a"}, R"("k": 1)")
                     .operation("v", "top_k_values", {"a"}, R"("k": 1)")
                     .softmax("s", "a", format(9, 1, false, "RND_CONV", "SAT"))
                     .finish({"y", "i", "v", "s"}));
  return made;
}

Results run(const Case& program, const std::string& path, int threads, std::uint32_t seed,
            bool everything) {
  hwflow::Engine engine(program.load(), threads, path);
  const hwflow::Program& loaded = engine.program();
  std::mt19937_64 random(seed);
  Results inputs;
  std::vector<hwflow::ImageArray> given;
  for (const std::size_t index : loaded.inputs) {
    const hwflow::Tensor& tensor = loaded.tensors[index];
    std::uniform_int_distribution<std::int64_t> values(tensor.format.minimum(),
                                                       tensor.format.maximum());
    auto& data = inputs.emplace_back(static_cast<std::size_t>(tensor.shape.size()));
    for (auto& value : data) value = values(random);
  }
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    given.push_back({loaded.inputs[i], reinterpret_cast<std::byte*>(inputs[i].data()), 8, true});
  }
  Results results(loaded.operations.size());
  std::vector<hwflow::ImageArray> wanted;
  std::vector<bool> chosen(results.size(), everything);
  for (const std::size_t output : loaded.outputs) chosen[output] = true;
  for (std::size_t i = 0; i < results.size(); ++i) {
    if (!chosen[i]) continue;
    results[i].resize(static_cast<std::size_t>(loaded.tensors[i].shape.size()));
    wanted.push_back({i, reinterpret_cast<std::byte*>(results[i].data()), 8, true});
  }
  engine.run(given, wanted, 1, {});
  return results;
}

}  // namespace hwflow_test
