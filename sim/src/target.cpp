#include "hwflow/target.hpp"

#include <algorithm>
#include <limits>

#include "hwflow/error.hpp"
#include "hwflow/execution.hpp"

namespace hwflow {

std::vector<std::string> Target::available() {
  std::vector<std::string> names;
#if defined(__x86_64__) && defined(__GNUC__)
  __builtin_cpu_init();
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  if (avx512 && __builtin_cpu_supports("avx512vnni")) names.emplace_back("avx512vnni");
  if (avx512) names.emplace_back("avx512bw");
  if (__builtin_cpu_supports("avx2")) names.emplace_back("avx2");
#endif
  names.emplace_back("portable");
  return names;
}

Target Target::choose(const std::string& name) {
  const auto names = available();
  const std::string chosen = name.empty() ? names.front() : name;
  if (std::find(names.begin(), names.end(), chosen) == names.end()) {
    std::string text;
    for (const auto& known : names) text += (text.empty() ? "" : ", ") + known;
    throw InputError("path '" + chosen + "' cannot run on this machine; it has " + text);
  }
#if defined(__x86_64__) && defined(__GNUC__)
  if (chosen == "avx512vnni") return {chosen, &kVnniKernels};
  if (chosen == "avx512bw") return {chosen, &kAvx512Kernels};
  if (chosen == "avx2") return {chosen, &kAvx2Kernels};
#endif
  return {chosen, nullptr};
}

bool is_int32(const Tensor& tensor) {
  return tensor.interval.lowest() >= std::numeric_limits<std::int32_t>::min() &&
         tensor.interval.highest() <= std::numeric_limits<std::int32_t>::max();
}

bool can_finish(const Tensor& result, const Requantizer& requantizer, const Tensor& requantized) {
  if (!is_int32(result) || !requantizer.is_shift() || requantizer.shift() > 30) return false;
  const Storage storage = storage_of(requantized);
  if (!is_byte(storage) && storage != Storage::kI16) return false;
  // What rounding adds must not leave 32 bits either.
  const std::int64_t margin = std::int64_t{1} << requantizer.shift();
  if (result.interval.highest() > std::numeric_limits<std::int32_t>::max() - margin ||
      result.interval.lowest() < std::numeric_limits<std::int32_t>::min() + margin) {
    return false;
  }
  return requantizer.only_clips(result.interval.lowest(), result.interval.highest());
}

Finish finish_of(const Requantizer* requantizer, const Tensor& stored) {
  Finish finish;
  const Storage storage = storage_of(stored);
  if (storage == Storage::kI32) return finish;
  finish.kind = is_byte(storage) ? Finish::kBytes : Finish::kShorts;
  if (requantizer != nullptr) {
    const auto& rounding = requantizer->rounding();
    finish.shift = requantizer->shift();
    finish.constant = static_cast<std::int32_t>(rounding.constant);
    finish.on_negative = static_cast<std::int32_t>(rounding.on_negative);
    finish.on_odd = static_cast<std::int32_t>(rounding.on_odd);
  }
  // The proved reach is within the format's range and within the storage's.
  finish.low = static_cast<std::int32_t>(stored.interval.lowest());
  finish.high = static_cast<std::int32_t>(stored.interval.highest());
  finish.bias = static_cast<std::int32_t>(bias_of(storage));
  return finish;
}

}  // namespace hwflow
