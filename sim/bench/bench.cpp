// Times a program's operations on one thread: bench FOLDER [PATH [ROUNDS]], where the folder holds
// integer_graph.json and integer_graph.npz.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <new>

#include "hwflow/engine.hpp"
#include "hwflow/error.hpp"

namespace {

std::string contents(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw hwflow::ProgramError("cannot read " + path);
  return {std::istreambuf_iterator<char>(file), {}};
}

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

void measure(const std::string& folder, const std::string& path, int rounds) {
  const std::string arrays = contents(folder + "/integer_graph.npz");
  const hwflow::Program program =
      hwflow::Program::load(contents(folder + "/integer_graph.json"),
                            {reinterpret_cast<const std::byte*>(arrays.data()), arrays.size()});
  const hwflow::Target target = hwflow::Target::choose(path);
  const hwflow::Plan plan(program, target, {});
  const auto size = static_cast<std::size_t>(plan.arena_bytes());
  auto* arena = static_cast<std::byte*>(::operator new(size, std::align_val_t{64}));
  std::fill(arena, arena + size, std::byte{1});
  std::vector<double> best(plan.steps().size(), 1e9);
  for (int round = 0; round < rounds; ++round) {
    for (std::size_t i = 0; i < best.size(); ++i) {
      const hwflow::Step& step = *plan.steps()[i];
      const double start = seconds();
      step.run({arena, nullptr}, 0, step.units());
      best[i] = std::min(best[i], seconds() - start);
    }
  }
  double total = 0;
  for (std::size_t i = 0; i < best.size(); ++i) {
    std::printf("%9.1f us  %s\n", best[i] * 1e6, plan.steps()[i]->name.c_str());
    total += best[i];
  }
  std::printf("%9.1f us  in all, %lld bytes, %s\n", total * 1e6,
              static_cast<long long>(plan.arena_bytes()), target.name.c_str());
  if (target.kernels != nullptr) {
    double fastest = 0;
    for (int round = 0; round < rounds; ++round) {
      const double start = seconds();
      const auto products = static_cast<double>(target.kernels->peak(1 << 16));
      fastest = std::max(fastest, products / (seconds() - start));
    }
    std::printf("%9.1f GMAC/s at most\n", fastest / 1e9);
  }
  ::operator delete(arena, std::align_val_t{64});
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 2) {
    std::fprintf(stderr, "usage: bench FOLDER [PATH [ROUNDS]]\n");
    return 2;
  }
  try {
    measure(arguments[1], count > 2 ? arguments[2] : "", count > 3 ? std::atoi(arguments[3]) : 50);
  } catch (const std::runtime_error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 2;
  }
  return 0;
}
