// Uniform numbers in [0, 1) to a range, and to normal numbers: PyTorch's arithmetic to the bit.
#pragma once

#include <cstdint>

namespace unspool {

// x·(to - from) + from, in one rounding.
void stretch(float* x, std::int64_t n, float from, float to);
void stretch(double* x, std::int64_t n, double from, double to);

// G. Box, M. Muller (1958), on `blocks` blocks of 16 uniforms in place.
void box_muller(float* data, std::int64_t blocks, float mean, float std);
void box_muller(double* data, std::int64_t blocks, double mean, double std);

}  // namespace unspool
