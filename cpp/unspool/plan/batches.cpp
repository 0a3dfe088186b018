#include "unspool/plan/batches.h"

#include <cmath>
#include <cstring>

#include "unspool/base/pool.h"
#include "unspool/kernels/table.h"
#include "unspool/ops/ops.h"

namespace unspool {
namespace {

std::int64_t bytes_of_row(const Tensor& t) {
  return t.shape()[0] == 0 ? 0 : t.numel() / t.shape()[0] * static_cast<std::int64_t>(item_size(t.dtype()));
}

std::string row_text(const Tensor& t) {
  Shape row = t.shape();
  row.erase(0);
  return row.str() + " and dtype " + name(t.dtype());
}

void put_numbers(double* where, const Tensor& t) {
  if (t.dtype() == DType::Float32 && t.numel() == 1) {
    *where = *reinterpret_cast<const float*>(t->data);
    return;
  }
  const Tensor dense = contiguous(to(t, DType::Float64));
  std::memcpy(where, dense->data, static_cast<std::size_t>(dense.numel()) * sizeof(double));
}

}  // namespace

Batches::Batches(const std::vector<Tensor>& sources, std::int64_t size, std::int64_t parts)
    : part_(size), parts_(parts) {
  const GradMode off(false);
  if (size < 1) fail(ErrorKind::Value, "batches: size must be at least 1, got ", size);
  if (parts < 1) fail(ErrorKind::Value, "batches: parts must be at least 1, got ", parts);
  if (__builtin_mul_overflow(size, parts, &size_))
    fail(ErrorKind::Value, "batches: ", parts, " parts of ", size, " rows are too many");
  if (sources.empty()) fail(ErrorKind::Value, "batches: there must be at least one tensor, got none");
  for (const Tensor& t : sources) {
    if (t.ndim() == 0)
      fail(ErrorKind::Shape, "batches: tensors must have at least one dimension, got shape ()");
    if (t.shape()[0] != sources[0].shape()[0])
      fail(ErrorKind::Shape, "batches: tensors must have equally many rows; they have shapes ",
           sources[0].shape(), " and ", t.shape());
    sources_.push_back(contiguous(t));
  }
  available_ = sources[0].shape()[0];
  reorder({});
}

void Batches::reorder(const Tensor& order) {
  if (order) {
    if (order.dtype() != DType::Int64 || order.ndim() != 1)
      fail(ErrorKind::Index, "batches: order must be 1-D of dtype int64, got shape ", order.shape(),
           " and dtype ", name(order.dtype()));
    const GradMode off(false);
    const Tensor dense = contiguous(order);
    const auto* at = reinterpret_cast<const std::int64_t*>(dense->data);
    for (std::int64_t i = 0; i < dense.numel(); ++i)
      if (at[i] < 0 || at[i] >= available_)
        fail(ErrorKind::Index, "batches: row ", at[i], " is out of bounds for ", available_, " rows");
    order_ = dense;
    rows_ = dense.numel();
  } else {
    order_ = Tensor();
    rows_ = available_;
  }
  count_ = rows_ / size_ + (rows_ % size_ != 0);
  const std::int64_t losses = rows_ / part_ + (rows_ % part_ != 0);
  if (!losses_ || losses_.numel() != losses) losses_ = empty({losses}, DType::Float64, "batches");
  kept_.clear();  // whoever holds the last epoch's results keeps them
  odd_.clear();
}

std::vector<Tensor> Batches::blank(std::int64_t batch) const {
  std::vector<Tensor> made;
  for (const Tensor& source : sources_) {
    Shape shape = source.shape();
    shape[0] = rows_of(batch);
    made.push_back(empty(shape, source.dtype(), "batches"));
  }
  return made;
}

void Batches::fill(std::span<const Tensor> batch, std::int64_t i) const {
  const std::int64_t first = i * size_, n = rows_of(i);
  for (std::size_t k = 0; k < sources_.size(); ++k) {
    const std::int64_t row = bytes_of_row(sources_[k]);
    if (row == 0) continue;
    if (order_)
      kernels().gather_rows(batch[k]->data, sources_[k]->data, row, row,
                            reinterpret_cast<const std::int64_t*>(order_->data) + first, n);
    else
      std::memcpy(batch[k]->data, sources_[k]->data + first * row, static_cast<std::size_t>(n * row));
  }
}

// Asks for the rows of batch i, which a shuffled epoch finds anywhere in memory: their first lines, after
// which the processor sees where it goes, and of so many rows as it can wait for.
void Batches::ask_for(std::int64_t i) const {
  constexpr std::int64_t kLines = 4, kLine = 64, kMost = 256;
  if (!order_ || i >= count_) return;
  const auto* at = reinterpret_cast<const std::int64_t*>(order_->data) + i * size_;
  for (const Tensor& source : sources_) {
    const std::int64_t row = bytes_of_row(source), asked = std::min(row, kLines * kLine);
    const std::int64_t n = std::min(rows_of(i), kMost / ((asked + kLine - 1) / kLine + 1));
    for (std::int64_t k = 0; k < n; ++k) {
      const char* const from = source->data + at[k] * row;
      for (std::int64_t b = 0; b < asked; b += kLine) __builtin_prefetch(from + b);
      __builtin_prefetch(from + asked - 1);
    }
  }
}

std::vector<Tensor> Batches::batch(std::int64_t i) const {
  std::vector<Tensor> made = blank(i);
  fill(made, i);
  return made;
}

void Batches::note(std::int64_t i, std::span<const Tensor> results) {
  const Tensor& loss = results[0];
  if (loss.numel() != parts_of(i))
    fail(ErrorKind::Shape, "batches: there must be ", parts_of(i), " losses, got shape ", loss.shape());
  put_numbers(reinterpret_cast<double*>(losses_->data) + i * parts_, loss);
  for (std::size_t k = 1; k < results.size(); ++k) {
    const Tensor& t = results[k];
    if (t.ndim() == 0 || t.shape()[0] != rows_of(i))
      fail(ErrorKind::Shape, "batches: results must have a row for each of the batch's ", rows_of(i),
           " examples, got shape ", t.shape());
    Shape shape = t.shape();
    shape[0] = rows_;
    if (kept_.size() < k) kept_.push_back(empty(shape, t.dtype(), "batches"));
    const Tensor& all = kept_[k - 1];
    if (!(all.shape() == shape) || all.dtype() != t.dtype()) {
      odd_ = "rows of shape " + row_text(t) + ", those before " + row_text(all);
      return;
    }
    const std::int64_t row = bytes_of_row(t);
    std::memcpy(all->data + i * size_ * row, contiguous(t)->data,
                static_cast<std::size_t>(t.shape()[0] * row));
  }
}

bool Batches::finite(std::int64_t i) const {
  const double* first = reinterpret_cast<const double*>(losses_->data) + i * parts_;
  return std::all_of(first, first + parts_of(i), [](double loss) { return std::isfinite(loss); });
}

std::int64_t Batches::replay(Plan& plan, std::int64_t start, std::int64_t stop,
                             std::chrono::steady_clock::time_point deadline) {
  const GradMode off(false);
  const std::vector<Tensor> arguments = blank(start);
  std::vector<Tensor> results;
  std::int64_t i = start;
  do {
    fill(arguments, i);
    ask_for(i + 1);
    results.clear();
    try {
      plan.run(arguments, results);
    } catch (...) {
      if (i == start) throw;
      return i - start;  // it has taken back what it did, and raises again as the first of another call
    }
    note(i, results);
    ++i;
  } while (i < stop && rows_of(i) == arguments[0].shape()[0] && finite(i - 1) && odd_.empty() &&
           std::chrono::steady_clock::now() < deadline);
  return i - start;
}

}  // namespace unspool
