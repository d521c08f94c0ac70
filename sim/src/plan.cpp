#include "hwflow/plan.hpp"

#include <algorithm>
#include <limits>
#include <numeric>

namespace hwflow {
namespace {

// Vector loads may run past the last item of a tensor by less than this.
constexpr std::int64_t kSlack = 128;
constexpr std::int64_t kAlignment = 64;

std::int64_t aligned(std::int64_t size) { return (size + kAlignment - 1) & -kAlignment; }

}  // namespace

std::int64_t place(std::vector<Block>& blocks) {
  std::vector<std::size_t> order(blocks.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return blocks[a].size > blocks[b].size;
  });
  std::int64_t arena = 0;
  std::vector<std::size_t> placed;
  for (const std::size_t index : order) {
    Block& block = blocks[index];
    std::vector<const Block*> rivals;
    for (const std::size_t other : placed) {
      if (blocks[other].first <= block.last && block.first <= blocks[other].last) {
        rivals.push_back(&blocks[other]);
      }
    }
    std::sort(rivals.begin(), rivals.end(),
              [](const Block* a, const Block* b) { return a->offset < b->offset; });
    block.offset = 0;
    for (const Block* rival : rivals) {
      if (block.offset + block.size <= rival->offset) break;
      block.offset = std::max(block.offset, aligned(rival->offset + rival->size));
    }
    arena = std::max(arena, aligned(block.offset + block.size));
    placed.push_back(index);
  }
  return arena;
}

Plan::Plan(const Program& program, const Target& target, std::vector<bool> kept)
    : kept_(std::move(kept)) {
  const std::size_t count = program.operations.size();
  kept_.resize(count, false);
  for (const std::size_t output : program.outputs) kept_[output] = true;
  consumers_.resize(count);
  for (std::size_t i = 0; i < count; ++i) {
    for (const std::size_t source : program.operations[i]->inputs) consumers_[source].push_back(i);
  }
  absorbed_.resize(count);
  std::iota(absorbed_.begin(), absorbed_.end(), 0);
  maker_ = joined_ = absorbed_;
  channel_.resize(count, 0);
  halo_.resize(count);
  scratch_.resize(count, 0);
  views_.resize(count);
  fuse(program, target);
  join(program);
  surround(program, target);
  lay_out(program, target);
  lower(program, target);
}

std::size_t Plan::root(std::size_t tensor) const {
  while (joined_[tensor] != tensor) tensor = joined_[tensor];
  return tensor;
}

void Plan::fuse(const Program& program, const Target& target) {
  for (std::size_t i = 0; i < program.operations.size(); ++i) {
    const Requantizer* requantizer = program.operations[i]->requantizer();
    if (requantizer == nullptr) continue;
    const std::size_t source = program.operations[i]->inputs[0];
    const Operation& producer = *program.operations[source];
    if (kept_[source] || consumers_[source].size() != 1 || producer.inputs.empty()) continue;
    const Tensor& before = program.tensors[producer.inputs[0]];
    if (producer.fuses(target, before, program.tensors[source], *requantizer, program.tensors[i])) {
      absorbed_[source] = i;
      maker_[i] = source;
    }
  }
}

void Plan::join(const Program& program) {
  for (std::size_t i = 0; i < program.operations.size(); ++i) {
    const Operation& operation = *program.operations[i];
    std::int64_t channel = 0;
    for (std::size_t j = 0; j < operation.inputs.size(); ++j) {
      const std::size_t source = operation.inputs[j];
      const bool once =
          std::count(operation.inputs.begin(), operation.inputs.end(), source) == 1;
      if (operation.joins(j) && once && joined_[source] == source &&
          !program.operations[source]->inputs.empty() &&
          storage_of(program.tensors[source]) == storage_of(program.tensors[i])) {
        joined_[source] = i;
        channel_[source] = channel;
      }
      channel += program.tensors[source].shape.channels;
    }
  }
}

void Plan::surround(const Program& program, const Target& target) {
  for (std::size_t i = 0; i < program.operations.size(); ++i) {
    const Operation& operation = *program.operations[i];
    for (const std::size_t source : operation.inputs) {
      const Padding wanted = operation.halo(target, program.tensors[source], program.tensors[i]);
      Padding& halo = halo_[root(source)];
      halo.top = std::max(halo.top, wanted.top);
      halo.bottom = std::max(halo.bottom, wanted.bottom);
      halo.left = std::max(halo.left, wanted.left);
      halo.right = std::max(halo.right, wanted.right);
    }
  }
}

void Plan::lay_out(const Program& program, const Target& target) {
  const std::size_t count = program.operations.size();
  std::vector<Block> blocks(2 * count);  // tensors, then the operations' own memory
  for (std::size_t i = 0; i < count; ++i) {
    Block& own = blocks[count + i];
    own.first = own.last = static_cast<std::int64_t>(i);
    if (!program.operations[i]->inputs.empty()) {
      own.size = program.operations[i]->scratch(
          target, program.tensors[program.operations[i]->inputs[0]], program.tensors[i]);
      if (own.size > 0) own.size += kSlack;
    }
    blocks[i].first = std::numeric_limits<std::int64_t>::max();
  }
  for (std::size_t i = 0; i < count; ++i) {
    if (absorbed_[i] != i) continue;  // never in memory
    const std::size_t home = root(i);
    const Tensor& tensor = program.tensors[home];
    View& view = views_[home];
    view.shape = tensor.shape;
    view.storage = storage_of(tensor);
    view.halo = halo_[home];
    view.pixel_stride = tensor.shape.channels * item_size(view.storage);
    view.row_stride = (tensor.shape.width + view.halo.left + view.halo.right) * view.pixel_stride;
    Block& block = blocks[home];
    block.size = (tensor.shape.height + view.halo.top + view.halo.bottom) * view.row_stride + kSlack;
    const bool given = program.operations[i]->inputs.empty();
    const auto made = given ? 0 : static_cast<std::int64_t>(maker_[i]);
    block.first = std::min(block.first, made);
    block.last = std::max(block.last, static_cast<std::int64_t>(i));
    for (const std::size_t consumer : consumers_[i]) {
      block.last = std::max(block.last, static_cast<std::int64_t>(consumer));
    }
    if (kept_[i]) block.last = static_cast<std::int64_t>(count);
  }
  arena_bytes_ = place(blocks);
  for (std::size_t i = 0; i < count; ++i) {
    scratch_[i] = blocks[count + i].offset;
    if (absorbed_[i] != i || joined_[i] != i) continue;
    View& view = views_[i];
    view.offset = blocks[i].offset + view.halo.top * view.row_stride +
                  view.halo.left * view.pixel_stride;
  }
  for (std::size_t i = 0; i < count; ++i) {
    if (absorbed_[i] != i || joined_[i] == i) continue;
    std::int64_t channel = 0;
    for (std::size_t t = i; joined_[t] != t; t = joined_[t]) channel += channel_[t];
    View view = views_[root(i)];
    view.offset += channel * item_size(view.storage);
    view.shape = program.tensors[i].shape;
    views_[i] = view;
  }
}

void Plan::lower(const Program& program, const Target& target) {
  const std::size_t count = program.operations.size();
  std::vector<bool> surrounded(count, false);
  const auto clear_halo = [&](std::size_t tensor) {
    const std::size_t home = root(tensor);
    const View view = views_[home];
    if (surrounded[home] || !view.halo.any()) return;
    surrounded[home] = true;
    steps_.push_back(std::make_unique<Step>(StepWork{
        1, [view](const Context& context, std::int64_t, std::int64_t) {
          view.clear_halo(context.arena);
        }}));
    steps_.back()->name = program.operations[home]->name + " (halo)";
  };
  for (const std::size_t input : program.inputs) clear_halo(input);
  for (std::size_t i = 0; i < count; ++i) {
    const Operation& operation = *program.operations[i];
    if (operation.inputs.empty() || maker_[i] != i) continue;
    const std::size_t target_tensor = absorbed_[i];
    clear_halo(target_tensor);
    Site site;
    for (std::size_t j = 0; j < operation.inputs.size(); ++j) {
      const std::size_t source = operation.inputs[j];
      site.inputs.push_back(views_[source]);
      site.sources.push_back(&program.tensors[source]);
    }
    site.result = &program.tensors[i];
    site.sink = {views_[target_tensor], nullptr, target_tensor};
    if (target_tensor != i) {
      site.requantized = &program.tensors[target_tensor];
      site.sink.requantizer = program.operations[target_tensor]->requantizer();
    }
    site.scratch = scratch_[i];
    for (auto& step : operation.steps(target, site)) {
      step->name = operation.name;
      steps_.push_back(std::move(step));
    }
  }
}

}  // namespace hwflow
