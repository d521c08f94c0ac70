// Runs all tests, then fuzzes for as many rounds as the argument says.
#include <cstdio>
#include <cstdlib>

#include "fuzz.hpp"
#include "support.hpp"

int main(int count, char** arguments) {
  const int failed = hwflow_test::run_all_tests();
  if (failed != 0) return 1;
  const long rounds = count > 1 ? std::strtol(arguments[1], nullptr, 10) : 1000;
  const hwflow_test::FuzzReport report = hwflow_test::fuzz(rounds);
  std::printf("fuzz  %ld rounds: %ld refused, %ld loaded, %ld run\n", rounds, report.refused,
              report.loaded, report.run);
  // A fuzzer that never gets past the reader, or never fails, tests little.
  return report.refused > 0 && report.run > 0 ? 0 : 1;
}
