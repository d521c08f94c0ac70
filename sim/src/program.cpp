#include "hwflow/program.hpp"

#include <algorithm>
#include <limits>
#include <map>

#include "hwflow/error.hpp"

namespace hwflow {
namespace {

constexpr std::int64_t kVersion = 1;
constexpr std::int64_t kLargestSide = 1 << 20;
constexpr std::int64_t kLargestTensor = std::int64_t{1} << 31;

std::map<std::string, Reader>& kinds() {
  static std::map<std::string, Reader> readers;
  return readers;
}

void require_reasonable(const Shape& shape) {
  for (const std::int64_t side : {shape.height, shape.width, shape.channels}) {
    if (side < 1 || side > kLargestSide) throw ProgramError("impossible shape " + shape.text());
  }
  if (shape.height * shape.width > kLargestTensor ||
      shape.pixels() * shape.channels > kLargestTensor) {
    throw ProgramError("shape " + shape.text() + " is too large");
  }
}

std::unique_ptr<Operation> read_operation(const Json& entry, const Arrays& arrays,
                                          const std::string& name) {
  const std::string& kind = entry.at("kind", name).string(name + ".kind");
  const auto reader = kinds().find(kind);
  if (reader == kinds().end()) throw ProgramError(name + ": unknown kind '" + kind + "'");
  return reader->second(Attributes{entry.at("attributes", name), arrays, name});
}

void check_declaration(const Json& tensors, const std::string& name, const Tensor& tensor) {
  const std::string where = "tensors." + name;
  const Json& declared = tensors.at(name, "tensors");
  const auto shape = declared.at("shape", where).integers(where + ".shape", 3);
  if (!(Shape{shape[0], shape[1], shape[2]} == tensor.shape)) {
    throw ProgramError(where + ": another shape than " + tensor.shape.text() +
                       ", which its operation makes");
  }
  const FixedPoint format = FixedPoint::parse(declared.at("format", where), where + ".format");
  if (!(format == tensor.format)) {
    throw ProgramError(where + ": declared " + format.text() + ", but its operation makes " +
                       tensor.format.text());
  }
  if (declared.at("divisor", where).integer(where + ".divisor") != tensor.divisor) {
    throw ProgramError(where + ": another divisor than " + std::to_string(tensor.divisor) +
                       ", which its operation makes");
  }
}

}  // namespace

std::string Shape::text() const {
  return "(" + std::to_string(height) + ", " + std::to_string(width) + ", " +
         std::to_string(channels) + ")";
}

std::int64_t Interval::lowest() const { return *std::min_element(low.begin(), low.end()); }

std::int64_t Interval::highest() const { return *std::max_element(high.begin(), high.end()); }

const Array& Attributes::array(const std::string& key) const {
  const std::string& name = at(key).at("array", where + "." + key).string(where + "." + key);
  const auto found = arrays.find(name);
  if (found == arrays.end()) {
    throw ProgramError(where + "." + key + ": the archive has no array '" + name + "'");
  }
  return found->second;
}

std::optional<std::int64_t> Attributes::optional_integer(const std::string& key) const {
  if (!has(key)) return std::nullopt;
  return integer(key);
}

bool Attributes::has(const std::string& key) const {
  for (const auto& [name, value] : json.object(where)) {
    if (name == key) return true;
  }
  return false;
}

Padding Attributes::padding() const {
  const auto sides = integers("padding", 4);
  for (const std::int64_t side : sides) {
    if (side < 0 || side > kLargestSide) throw ProgramError(where + ".padding: out of range");
  }
  return {sides[0], sides[1], sides[2], sides[3]};
}

RegisterKind::RegisterKind(const char* kind, Reader reader) { kinds().emplace(kind, reader); }

Program Program::load(std::string_view json, std::span<const std::byte> npz) {
  const Json document = Json::parse(json);
  if (document.at("format", "program").string("format") != "hwflow-integer-graph") {
    throw ProgramError("not an integer graph");
  }
  const std::int64_t version = document.at("version", "program").integer("version");
  if (version != kVersion) {
    throw ProgramError("version " + std::to_string(version) + ", expected " +
                       std::to_string(kVersion));
  }
  const Arrays arrays = read_npz(npz);
  Program program;
  program.name = document.at("name", "program").string("name");
  const Json& tensors = document.at("tensors", "program");
  std::map<std::string, std::size_t> made;
  for (const Json& entry : document.at("operations", "program").array("operations")) {
    const std::string& name = entry.at("name", "operation").string("operation.name");
    try {
      if (made.count(name) != 0) throw ProgramError(name + ": two operations have this name");
      std::unique_ptr<Operation> operation = read_operation(entry, arrays, name);
      operation->name = name;
      std::vector<const Tensor*> sources;
      for (const std::string& source : entry.at("inputs", name).strings(name + ".inputs")) {
        const auto found = made.find(source);
        if (found == made.end()) {
          throw ProgramError(name + ": reads '" + source + "', which no earlier operation makes");
        }
        operation->inputs.push_back(found->second);
        sources.push_back(&program.tensors[found->second]);
      }
      Tensor tensor = operation->infer(sources);
      require_reasonable(tensor.shape);
      check_declaration(tensors, name, tensor);
      if (operation->inputs.empty()) program.inputs.push_back(program.operations.size());
      made.emplace(name, program.operations.size());
      program.operations.push_back(std::move(operation));
      program.tensors.push_back(std::move(tensor));
    } catch (const ProgramError& error) {
      const std::string text = error.what();
      const bool located = text.starts_with(name + ":") || text.starts_with(name + ".") ||
                           text.starts_with("tensors");
      throw ProgramError(located ? text : name + ": " + text);
    }
  }
  for (const std::string& name : document.at("outputs", "program").strings("outputs")) {
    const auto found = made.find(name);
    if (found == made.end()) {
      throw ProgramError("output '" + name + "' is not made by any operation");
    }
    program.outputs.push_back(found->second);
  }
  if (program.operations.empty()) throw ProgramError("the program has no operations");
  return program;
}

std::int64_t window_count(std::int64_t size, std::int64_t before, std::int64_t after,
                          std::int64_t window, std::int64_t stride) {
  const std::int64_t padded = size + before + after;
  if (window < 1 || padded < window) {
    throw ProgramError("a window of " + std::to_string(window) + " does not fit in " +
                       std::to_string(padded) + " pixels");
  }
  if (stride < 1) throw ProgramError("a stride must be positive");
  return (padded - window) / stride + 1;
}

const Tensor& only(std::span<const Tensor* const> sources) {
  if (sources.size() != 1) throw ProgramError("must have one input");
  return *sources[0];
}

void require_undivided(const Tensor& source) {
  if (source.divisor != 1) {
    throw ProgramError("a sum of average pooling must be requantized first");
  }
}

std::int64_t shifted_unit(const Tensor& source, std::int64_t bits) {
  if (bits < 0 || bits > 62) throw ProgramError("a shift must be from 0 to 62");
  return source.format.fraction_bits() + bits;
}

std::int64_t shifted(std::int64_t value, std::int64_t bits) {
  if (bits < 0 || bits > 62) throw ProgramError("a shift must be from 0 to 62");
  return narrowed(static_cast<__int128>(value) * (std::int64_t{1} << bits));
}

std::int64_t narrowed(__int128 value) {
  if (value < std::numeric_limits<std::int64_t>::min() ||
      value > std::numeric_limits<std::int64_t>::max()) {
    throw ProgramError("a value leaves 64 bits");
  }
  return static_cast<std::int64_t>(value);
}

}  // namespace hwflow
