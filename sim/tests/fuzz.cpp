#include "fuzz.hpp"

#include <random>

#include "hwflow/error.hpp"
#include "support.hpp"

namespace hwflow_test {
namespace {

constexpr std::int64_t kLargestRun = 1 << 16;  // values in all tensors

class Mutator {
 public:
  explicit Mutator(std::uint32_t seed) : random_(seed) {}

  std::size_t below(std::size_t limit) { return limit == 0 ? 0 : random_() % limit; }

  // One change to bytes.
  void change(std::string& data) {
    if (data.empty()) return;
    const std::size_t at = below(data.size());
    switch (below(4)) {
      case 0:
        data[at] = static_cast<char>(random_());
        break;
      case 1:
        data.erase(at, 1 + below(8));
        break;
      case 2:
        data.insert(at, data.substr(below(data.size()), 1 + below(16)));
        break;
      default:
        data[at] = static_cast<char>(data[at] ^ (1 << below(8)));
    }
  }

  // Another number, word or name in place of one of the document.
  void change_token(std::string& json) {
    static const std::vector<std::string> numbers = {
        "0", "1", "-1", "2", "3", "7", "8", "31", "32", "33", "62", "63", "64", "65", "255",
        "1048576", "1048577", "2147483647", "2147483648", "9223372036854775807",
        "-9223372036854775808", "99999999999999999999", "1.5", "1e400"};
    static const std::vector<std::string> words = {
        "TRN", "TRN_ZERO", "RND", "RND_ZERO", "RND_INF", "RND_MIN_INF", "RND_CONV", "WRAP", "SAT",
        "SAT_ZERO", "SAT_SYM", "add", "concatenate", "conv2d", "frame2d", "input", "max_pool2d", "multiply",
        "requantize", "select_channels", "softmax", "sum_pool2d", "table", "top_k_indices", "top_k_values",
        "upsample_bilinear2d", "upsample_nearest2d", "x", "a", "b", "c1", "y", "", "\\ud800",
        "\\u00e9"};
    const std::size_t start = below(json.size());
    const bool number = below(3) != 0;
    const std::size_t at =
        number ? json.find_first_of("0123456789", start) : json.find('"', start);
    if (at == std::string::npos) return;
    if (number) {
      const std::size_t end = json.find_first_not_of("0123456789.e", at);
      json.replace(at, end - at, numbers[below(numbers.size())]);
    } else {
      const std::size_t end = json.find('"', at + 1);
      if (end == std::string::npos) return;
      json.replace(at + 1, end - at - 1, words[below(words.size())]);
    }
  }

 private:
  std::mt19937 random_;
};

std::int64_t values_in(const hwflow::Program& program) {
  std::int64_t total = 0;
  for (const auto& tensor : program.tensors) total += tensor.shape.size();
  return total;
}

bool is_small(const hwflow::Program& program) {
  if (values_in(program) > kLargestRun) return false;
  for (const auto& tensor : program.tensors) {
    if (tensor.divisor > kLargestRun) return false;  // a pooling of many pixels of padding
  }
  return true;
}

}  // namespace

FuzzReport fuzz(long rounds) {
  const auto originals = cases();
  const auto paths = hwflow::Target::available();
  FuzzReport report;
  for (long round = 0; round < rounds; ++round) {
    Mutator mutator(static_cast<std::uint32_t>(round));
    Case mutant = originals[mutator.below(originals.size())];
    const std::size_t changes = 1 + mutator.below(3);
    std::string archive;
    for (std::size_t i = 0; i < changes; ++i) {
      switch (mutator.below(8)) {
        case 0:
          mutator.change(mutant.json);
          break;
        case 1: {
          if (mutant.files.empty()) break;  // a program without constants
          auto file = mutant.files.begin();
          std::advance(file, mutator.below(mutant.files.size()));
          mutator.change(file->second);
          break;
        }
        case 2:
          archive = npz(mutant.files);
          mutator.change(archive);
          break;
        default:
          mutator.change_token(mutant.json);
      }
    }
    // Half of them with the declarations that they imply, so that more than those are tried.
    if (round % 2 == 0) (void)reconcile(mutant);
    try {
      if (!archive.empty()) (void)hwflow::Program::load(mutant.json, bytes_of(archive));
      const hwflow::Program program = mutant.load();
      ++report.loaded;
      if (!is_small(program)) continue;
    } catch (const hwflow::ProgramError&) {
      ++report.refused;
      continue;
    }
    const auto seed = static_cast<std::uint32_t>(round);
    const Results expected = run(mutant, "portable", 1, seed, true);
    for (const auto& path : paths) {
      check(run(mutant, path, 1 + static_cast<int>(round % 2), seed, true) == expected,
            path + " differs in round " + std::to_string(round));
      const Results outputs = run(mutant, path, 1, seed, false);
      for (std::size_t i = 0; i < outputs.size(); ++i) {
        check(outputs[i].empty() || outputs[i] == expected[i],
              path + " fused differs in round " + std::to_string(round));
      }
    }
    ++report.run;
  }
  return report;
}

}  // namespace hwflow_test
