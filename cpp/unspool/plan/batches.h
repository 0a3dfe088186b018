// An epoch: one replay of a plan a batch, whose rows are gathered into the plan's arguments. Start at
// Batches::replay. Which rows come when is the caller's: no random numbers here.
#pragma once

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

#include "unspool/plan/plan.h"

namespace unspool {

class Batches {
 public:
  // sources: tensors of equally many rows, along the first dimension. A batch is so many `parts` of `size`
  // rows, and has a loss for each. Throws ShapeError for other tensors, and ValueError for numbers below 1.
  Batches(const std::vector<Tensor>& sources, std::int64_t size, std::int64_t parts);

  // The rows' order from now on; an empty tensor for the order in which they lie. Throws IndexError for a row
  // that is not there.
  void reorder(const Tensor& order);
  std::int64_t rows() const { return rows_; }    // of an epoch
  std::int64_t count() const { return count_; }  // of batches, the short one included
  std::int64_t rows_of(std::int64_t batch) const { return std::min(size_, rows_ - batch * size_); }
  std::int64_t parts_of(std::int64_t batch) const { return (rows_of(batch) + part_ - 1) / part_; }

  // The rows of a batch, as new tensors.
  std::vector<Tensor> batch(std::int64_t i) const;
  // What came of a batch: the losses of its parts, and further results to keep, of as many rows as the batch.
  // Rows that differ from those of the batches before are not kept, but told of in odd(): the step is done.
  void note(std::int64_t i, std::span<const Tensor> results);
  // Runs batches from `start` on, at most to `stop`, as long as they have as many rows as the first and the
  // deadline has not passed; at least one. Not beyond one with a loss that is not finite, and not the one
  // that raises but as the first. How many there were.
  std::int64_t replay(Plan& plan, std::int64_t start, std::int64_t stop,
                      std::chrono::steady_clock::time_point deadline);

  // Of the parts of batches in the epoch, float64.
  const Tensor& losses() const { return losses_; }
  bool finite(std::int64_t batch) const;
  // Results beside the loss, of all rows, in the epoch's order.
  const std::vector<Tensor>& kept() const { return kept_; }
  const std::string& odd() const { return odd_; }
  // Tensors to run a plan on, of the first batch's layout; their numbers are not set.
  std::vector<Tensor> blank(std::int64_t batch) const;

 private:
  void fill(std::span<const Tensor> batch, std::int64_t i) const;
  void ask_for(std::int64_t i) const;

  std::vector<Tensor> sources_;
  std::int64_t part_, parts_, size_, available_ = 0, rows_ = 0, count_ = 0;
  Tensor order_, losses_;
  std::vector<Tensor> kept_;
  std::string odd_;
};

}  // namespace unspool
