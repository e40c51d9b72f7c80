// A process and all below it, which move as one: what they share with each other stays together.
// Pure.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "migrate/check/check.h"

namespace ssi::check {

// The first is the one that the others are below of.
using Tree = std::vector<ProcessFacts>;

// "process 812 (make) of its tree", for a reason that is about another than the first.
std::string in_its_tree(const ProcessFacts& facts);

// Whether the first shares memory with one of the others: then it can't move without them.
bool shares_memory_inside(const Tree& tree);

// Leaves out of the facts whatever is so among these processes only: children, holders of the same
// descriptors, sharers of memory, both ends of a pipe.
Tree seen_as_one(Tree tree);

// Of a tree that is seen as one. Reasons against others than the first name them.
std::optional<Refusal> check_tree(const Tree& tree, const CheckContext& context);

}  // namespace ssi::check
