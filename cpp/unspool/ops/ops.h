// The ops as C++ functions, for derivative rules and bindings. Each is a call through the door;
// its definition stands in the op's block.
#pragma once

#include <span>

#include "unspool/tensor/tensor.h"

namespace unspool {

// Elementwise (elementwise_unary.cpp, elementwise_binary.cpp).
Tensor operator-(const Tensor& x);
Tensor operator+(const Tensor& a, const Tensor& b);
Tensor operator-(const Tensor& a, const Tensor& b);
Tensor operator*(const Tensor& a, const Tensor& b);
Tensor operator/(const Tensor& a, const Tensor& b);
Tensor operator==(const Tensor& a, const Tensor& b);
Tensor operator<(const Tensor& a, const Tensor& b);
Tensor operator>(const Tensor& a, const Tensor& b);
Tensor operator<=(const Tensor& a, const Tensor& b);
Tensor operator>=(const Tensor& a, const Tensor& b);
inline Tensor operator*(const Tensor& a, double b) { return a * wrapped_number(b); }
inline Tensor operator*(double a, const Tensor& b) { return b * wrapped_number(a); }
inline Tensor operator/(double a, const Tensor& b) { return wrapped_number(a) / b; }
inline Tensor operator-(double a, const Tensor& b) { return wrapped_number(a) - b; }
inline Tensor operator+(const Tensor& a, double b) { return a + wrapped_number(b); }
inline Tensor operator<=(const Tensor& a, double b) { return a <= wrapped_number(b); }
inline Tensor operator>=(const Tensor& a, double b) { return a >= wrapped_number(b); }
inline Tensor operator<(const Tensor& a, double b) { return a < wrapped_number(b); }
inline Tensor operator>(const Tensor& a, double b) { return a > wrapped_number(b); }
Tensor add(const Tensor& a, const Tensor& b, double alpha);
Tensor sign(const Tensor& x);
Tensor abs(const Tensor& x);
Tensor exp(const Tensor& x);
Tensor log(const Tensor& x);
Tensor sqrt(const Tensor& x);
Tensor tanh(const Tensor& x);
Tensor sigmoid(const Tensor& x);
Tensor erf(const Tensor& x);
Tensor log1p(const Tensor& x);
Tensor expm1(const Tensor& x);
Tensor trunc(const Tensor& x);
Tensor round(const Tensor& x);
Tensor pow(const Tensor& x, double p);
Tensor pow(const Tensor& a, const Tensor& b);
Tensor max(const Tensor& a, const Tensor& b);
Tensor min(const Tensor& a, const Tensor& b);
Tensor floor_div(const Tensor& a, const Tensor& b);
Tensor remainder(const Tensor& a, const Tensor& b);
Tensor fma(const Tensor& a, const Tensor& b, const Tensor& c);
Tensor where(const Tensor& condition, const Tensor& a, const Tensor& b);

// Reductions (reduce.cpp, extreme.cpp).
Tensor sum(const Tensor& x);
Tensor sum(const Tensor& x, const Dims& dims, bool keepdim);
Tensor sum_to(const Tensor& x, const Shape& shape);  // the transpose of a broadcast

// Products (matmul.cpp).
Tensor matmul(const Tensor& a, const Tensor& b);
Tensor linear(const Tensor& input, const Tensor& weight, const Tensor& bias);
Tensor linear_relu(const Tensor& input, const Tensor& weight, const Tensor& bias);

// relu.cpp.
Tensor relu(const Tensor& x);
Tensor relu_mask(const Tensor& x);  // an aux buffer for the bits of x's elements, not filled
Tensor relu_backward(const Tensor& g, const Tensor& mask);

// loss.cpp; reduction is 0 (none), 1 (mean) or 2 (sum).
Tensor mse_loss(const Tensor& input, const Tensor& target, std::int64_t reduction);

// softmax.cpp.
Tensor softmax(const Tensor& x, std::int64_t dim);
Tensor log_softmax(const Tensor& x, std::int64_t dim);

// Shape and memory (shape.cpp, parts.cpp, copy.cpp, join.cpp).
Tensor reshape(const Tensor& x, const Shape& shape);
Tensor view(const Tensor& x, const Shape& shape);
Tensor transpose(const Tensor& x, std::int64_t dim0, std::int64_t dim1);
Tensor permute(const Tensor& x, const Dims& dims);
Tensor expand(const Tensor& x, const Shape& shape);
Tensor squeeze(const Tensor& x, std::int64_t dim);
Tensor unsqueeze(const Tensor& x, std::int64_t dim);
Tensor select(const Tensor& x, std::int64_t dim, std::int64_t index);
Tensor slice(const Tensor& x, std::int64_t dim, std::int64_t start, std::int64_t stop, std::int64_t step);
Tensor narrow(const Tensor& x, std::int64_t dim, std::int64_t start, std::int64_t length);
// Offsets count from x's first element, in its memory.
Tensor as_strided(const Tensor& x, const Shape& shape, const Strides& strides, std::int64_t offset);
Tensor as_strided_scatter(const Tensor& x, const Tensor& value, const Shape& shape, const Strides& strides,
                          std::int64_t offset);
// At index tensors (gather.cpp).
Tensor gather(const Tensor& x, std::int64_t dim, const Tensor& index);
Tensor index_select(const Tensor& x, std::int64_t dim, const Tensor& index);
Tensor cat(std::span<const Tensor> tensors, std::int64_t dim);
Tensor contiguous(const Tensor& x);  // x itself where it already is
// The elements with these strides, which may leave gaps; x itself where it has them.
Tensor laid_out(const Tensor& x, const Strides& strides);
// Dense strides for a shape in another format than Preserve. Channels are dim 1 of 4 or 5, and lie side by
// side.
Strides strides_in(MemoryFormat format, const Shape& shape, const char* op);
// As PyTorch tells them apart: row-major where strides are those of both.
MemoryFormat format_of(const Tensor& x);
// In another format than format_of(x), a copy with its very strides.
Tensor to(const Tensor& x, DType dtype, bool copy, MemoryFormat format, const char* op);
// y in the order of strides that a copy of x has; both have one shape.
Tensor laid_out_like(const Tensor& y, const Tensor& x);
Tensor row_major_copy(const Tensor& x);
Tensor clone(const Tensor& x);
Tensor to(const Tensor& x, DType dtype);  // x itself where it already is
void copy_(const Tensor& target, const Tensor& source);
void add_(const Tensor& target, const Tensor& x, double alpha = 1.0);
void mul_(const Tensor& target, const Tensor& x);
void fill_(const Tensor& target, const Tensor& value);

// Creation (create.cpp).
Tensor full(const Shape& shape, double value, DType dtype);
Tensor zeros(const Shape& shape, DType dtype);
inline Tensor zeros_like(const Tensor& x) { return zeros(x.shape(), x.dtype()); }
Tensor ones_like(const Tensor& x);

// Random fills in place (random.cpp); `generator` is none or a Generator*.
struct Attr;
void uniform_(const Tensor& t, double from, double to, const Attr& generator);
void normal_(const Tensor& t, double mean, double std, const Attr& generator);
void trunc_normal_(const Tensor& t, double mean, double std, double a, double b, const Attr& generator);

}  // namespace unspool
