// A small test harness, and writers of the two files of an integer graph.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "hwflow/engine.hpp"

namespace hwflow_test {

// Runs at start-up what each file registers; a failed check throws.
struct RegisterTest {
  RegisterTest(const char* name, std::function<void()> body);
};
int run_all_tests();

void check(bool holds, const std::string& message);
// Checks that `work` throws a ProgramError that says `part`.
void check_refused(const std::function<void()>& work, const std::string& part);

using Files = std::map<std::string, std::string>;  // of an archive

std::string npy(const std::vector<std::int64_t>& shape, const std::vector<std::int8_t>& values);
// A .npz archive, stored.
std::string npz(const Files& files);
std::span<const std::byte> bytes_of(const std::string& text);

// A program and its arrays.
struct Case {
  std::string json;
  Files files;

  hwflow::Program load() const { return hwflow::Program::load(json, bytes_of(npz(files))); }
};

// Declares the shapes and formats that the loader proves. False if the program has other faults.
bool reconcile(Case& program);

// Programs of every operation, with formats that `Program::load` proves.
std::vector<Case> cases();

using Results = std::vector<std::vector<std::int64_t>>;  // by operation

// All tensors of a program for one random image; everything kept, or else only the outputs.
Results run(const Case& program, const std::string& path, int threads, std::uint32_t seed,
            bool everything);

}  // namespace hwflow_test
