// Filling a View from a Generator, with the numbers that PyTorch 2.13's CPU kernels write.
// Start at fill_uniform and fill_normal; the rules for each stand above its function.
// The caller holds generator.mutex() and has checked that the tensor may be written.
//
// Elements that are not contiguous are filled in the order in which they lie in memory, as PyTorch
// does: `x.t().uniform_()` fills x. Empty views draw nothing, but arguments are still checked.
// Errors are RuntimeError unless said; a dtype that cannot hold the draw is a DTypeError.
#pragma once

#include <cstdint>
#include <optional>

#include "unspool/base/random.h"
#include "unspool/kernels/view.h"

namespace unspool {

// Uniform on [from, to), float32 and float64. Equal to PyTorch to the bit.
void fill_uniform(Generator& generator, const View& out, double from = 0.0, double to = 1.0);

// Normal with the given mean and standard deviation (std >= 0), float32 and float64.
void fill_normal(Generator& generator, const View& out, double mean = 0.0, double std = 1.0);

// Integers on [low, high), any dtype that holds them. Without `high`: up to and with the dtype's
// largest value (2^24 for float32, 2^53 for float64), as `random_(from)` of PyTorch with to=None.
void fill_randint(Generator& generator, const View& out, std::int64_t low, std::optional<std::int64_t> high);

// `random_()`: [0, largest value] for integers, {0, 1} for bool, [0, 2^24] and [0, 2^53] for floats.
void fill_random(Generator& generator, const View& out);

// A uniformly random order of 0 .. n-1. n < 0 is an error.
void fill_randperm(Generator& generator, std::int64_t* out, std::int64_t n);

// 1 with probability p, else 0, any dtype. One 64-bit draw an element, whatever the dtype.
void fill_bernoulli(Generator& generator, const View& out, double p);
// The same with a probability for each element; p has out's shape, float32 (one 32-bit draw an
// element) or float64 (one 64-bit draw). All probabilities are checked before the first draw.
void fill_bernoulli(Generator& generator, const View& out, const View& p);

// Normal, redrawn until it lies in [a, b]; PyTorch's nn.init.trunc_normal_ (rejection sampling).
// Takes memory for one or two more tensors of the same size while it runs.
void fill_trunc_normal(Generator& generator, const View& out, double mean = 0.0, double std = 1.0,
                       double a = -2.0, double b = 2.0);

}  // namespace unspool
