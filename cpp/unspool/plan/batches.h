// An epoch: one replay of a plan a batch, whose rows are gathered into the plan's arguments. Start at
// Batches::replay. Which rows come when is the caller's: no random numbers here.
#pragma once

#include <chrono>
#include <vector>

#include "unspool/plan/plan.h"

namespace unspool {

class Batches {
 public:
  // sources: tensors of equally many rows, along the first dimension. Throws ShapeError for others, and ValueError
  // for a size below 1.
  Batches(const std::vector<Tensor>& sources, std::int64_t size);

  // The rows' order from now on; an empty tensor for the order in which they lie. Throws IndexError for a row
  // that is not there.
  void reorder(const Tensor& order);
  std::int64_t rows() const { return rows_; }    // of an epoch
  std::int64_t count() const { return count_; }  // of batches, the short one included
  std::int64_t rows_of(std::int64_t batch) const { return std::min(size_, rows_ - batch * size_); }

  // The rows of a batch, as new tensors.
  std::vector<Tensor> batch(std::int64_t i) const;
  // What came of a batch: its loss (a number), and further results to keep, of as many rows as the batch.
  void note(std::int64_t i, std::span<const Tensor> results);
  // Runs batches from `start` on, at most to `stop`, as long as they have as many rows as the first and the
  // deadline has not passed; at least one. Not beyond one whose loss is not finite. How many there were.
  std::int64_t replay(Plan& plan, std::int64_t start, std::int64_t stop,
                      std::chrono::steady_clock::time_point deadline);

  // Of the batches in the epoch, float64.
  const Tensor& losses() const { return losses_; }
  // Results beside the loss, of all rows, in the epoch's order.
  const std::vector<Tensor>& kept() const { return kept_; }
  // Tensors to run a plan on, of the first batch's layout; their numbers are not set.
  std::vector<Tensor> blank(std::int64_t batch) const;

 private:
  void fill(std::span<const Tensor> batch, std::int64_t i) const;

  std::vector<Tensor> sources_;
  std::int64_t size_, available_ = 0, rows_ = 0, count_ = 0;
  Tensor order_, losses_;
  std::vector<Tensor> kept_;
};

}  // namespace unspool
