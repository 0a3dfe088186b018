// Random tensors and fills, from PyTorch's CPU stream: random_fill.h says how words become
// numbers. A generator that is not given is the default one; it is locked for a whole fill.
#include "unspool/base/pool.h"
#include "unspool/kernels/table.h"
#include "unspool/ops/blocks.h"
#include "unspool/ops/random_fill.h"

namespace unspool {
namespace {

template <class F>
void with_generator(const Attr& a, F&& f) {
  Generator& generator = a.given() ? *static_cast<Generator*>(a.p) : default_generator();
  const Undivided whole;  // others may wait for the lock, and hold Python meanwhile
  std::lock_guard lock(generator.mutex());
  f(generator);
}

DType dtype_or(const Attr& a, DType otherwise) { return a.given() ? a.dtype() : otherwise; }

// The last attributes are generator, dtype, requires_grad, and a MemoryFormat.
template <class F>
void draw(Call& c, const Shape& shape, const Strides& strides, DType otherwise, bool floating, F&& fill) {
  const int n = c.attrs.n;
  const DType dtype = dtype_or(c.attrs[n - 3], otherwise);
  const bool grad = c.attrs.i(n - 2) != 0;
  if ((floating || grad) && !is_floating(dtype))
    fail(ErrorKind::DType, name_of(*c.op), ": needs a floating dtype, got ", name(dtype));
  Tensor t = empty(shape, strides, dtype, c.op->schema);
  with_generator(c.attrs[n - 4], [&](Generator& g) { fill(g, t.view()); });
  t->requires_grad = grad;
  c.out[0] = std::move(t);
}
Strides strides_or(const Call& c, const Shape& shape, const Strides& otherwise) {
  const auto format = static_cast<MemoryFormat>(c.attrs.i(c.attrs.n - 1));
  return format == MemoryFormat::Preserve ? otherwise : strides_in(format, shape, name_of(*c.op).c_str());
}
template <class F>
void draw(Call& c, const Shape& shape, DType otherwise, bool floating, F&& fill) {
  draw(c, shape, strides_or(c, shape, contiguous_strides(shape)), otherwise, floating, fill);
}
template <class F>
void draw_like(Call& c, F&& fill) {
  const Tensor& x = c.in[0];
  draw(c, x.shape(), strides_or(c, x.shape(), copy_strides(x.shape(), x.strides())), x.dtype(), true, fill);
}

constexpr OpDef rand_op = {
    .schema = "rand(int[]* size, *, Generator? generator=None, Options)",
    .doc = "Uniform numbers in [0, 1).",
    .surface = kFunction,
    .cls = Class::Random,
    .composite =
        [](Call& c) {
          draw(c, c.attrs.list(0), default_dtype(), true,
               [](Generator& g, const View& v) { fill_uniform(g, v); });
        },
};
constexpr OpDef randn_op = {
    .schema = "randn(int[]* size, *, Generator? generator=None, Options)",
    .doc = "Normal numbers of mean 0 and variance 1.",
    .surface = kFunction,
    .cls = Class::Random,
    .composite =
        [](Call& c) {
          draw(c, c.attrs.list(0), default_dtype(), true,
               [](Generator& g, const View& v) { fill_normal(g, v); });
        },
};
constexpr OpDef rand_like_op = {
    .schema = "rand_like(Tensor input, *, Generator? generator=None, Options)",
    .doc = "Uniform numbers in [0, 1), in the input's shape and dtype.",
    .surface = kFunction,
    .cls = Class::Random,
    .composite = [](Call& c) { draw_like(c, [](Generator& g, const View& v) { fill_uniform(g, v); }); },
};
constexpr OpDef randn_like_op = {
    .schema = "randn_like(Tensor input, *, Generator? generator=None, Options)",
    .doc = "Normal numbers of mean 0 and variance 1, in the input's shape and dtype.",
    .surface = kFunction,
    .cls = Class::Random,
    .composite = [](Call& c) { draw_like(c, [](Generator& g, const View& v) { fill_normal(g, v); }); },
};
constexpr OpDef normal_op = {
    .schema = "normal(float mean, float std, int[] size, *, Generator? generator=None, Options)",
    .doc = "Normal numbers of that mean and standard deviation.",
    .surface = kFunction,
    .cls = Class::Random,
    .composite =
        [](Call& c) {
          draw(c, c.attrs.list(0), default_dtype(), true,
               [&](Generator& g, const View& v) { fill_normal(g, v, c.attrs.f(0), c.attrs.f(1)); });
        },
};
constexpr OpDef randint_high_op = {
    .schema = "randint(int high, int[] size, *, Generator? generator=None, Options)",
    .doc = "Uniform integers in [0, high).",
    .surface = kFunction,
    .cls = Class::Random,
    .composite =
        [](Call& c) {
          draw(c, c.attrs.list(0), DType::Int64, false,
               [&](Generator& g, const View& v) { fill_randint(g, v, 0, c.attrs.i(0)); });
        },
};
constexpr OpDef randint_op = {
    .schema = "randint(int low, int high, int[] size, *, Generator? generator=None, Options)",
    .doc = "Uniform integers in [low, high).",
    .surface = kFunction,
    .cls = Class::Random,
    .composite =
        [](Call& c) {
          draw(c, c.attrs.list(0), DType::Int64, false,
               [&](Generator& g, const View& v) { fill_randint(g, v, c.attrs.i(0), c.attrs.i(1)); });
        },
};
constexpr OpDef randperm_op = {
    .schema = "randperm(int n, *, Generator? generator=None, Options)",
    .doc = "A random order of 0 … n-1.",
    .surface = kFunction,
    .cls = Class::Random,
    .composite =
        [](Call& c) {
          const std::int64_t n = c.attrs.i(0);
          if (n < 0) fail(ErrorKind::Runtime, "randperm: n must be non-negative, got ", n);
          const DType dtype = dtype_or(c.attrs[2], DType::Int64);
          if ((dtype == DType::UInt8 && n > 256) || (dtype == DType::Bool && n > 2))
            fail(ErrorKind::Runtime, "randperm: n is too large for result tensor type: ", n, " for ",
                 name(dtype));
          Tensor order = empty({n}, DType::Int64, "randperm");
          with_generator(c.attrs[1], [&](Generator& g) {
            fill_randperm(g, reinterpret_cast<std::int64_t*>(order->data), n);
          });
          c.out[0] = to(order, dtype);
        },
};

// ---- In place --------------------------------------------------------------------------------------------

void any_shape(Call&) {}
void floating_target(Call& c) {
  if (!is_floating(c.in[0].dtype()))
    fail(ErrorKind::DType, name_of(*c.op), ": needs a floating tensor, got ", name(c.in[0].dtype()));
}
// Nothing of the old value is left.
constexpr Derivative kForgotten =
    custom([](const Record&, const Tensor* g, Tensor* gx) { gx[0] = zeros_like(g[0]); },
           [](const Record&, const Tensor* dx, Tensor* dy) { dy[0] = zeros_like(dx[0]); });

constexpr OpDef uniform_op = {
    .schema = "uniform_(Tensor input, float from=0.0, float to=1.0, *, Generator? generator=None)",
    .doc = "Fills the tensor with uniform numbers in [from, to).",
    .surface = kMethod | kInplace,
    .cls = Class::Update,
    .shape = floating_target,
    .forward =
        [](Call& c) {
          with_generator(c.attrs[2],
                         [&](Generator& g) { fill_uniform(g, c.out[0].view(), c.attrs.f(0), c.attrs.f(1)); });
        },
    .derivative = kForgotten,
};
constexpr OpDef normal_fill_op = {
    .schema = "normal_(Tensor input, float mean=0.0, float std=1.0, *, Generator? generator=None)",
    .doc = "Fills the tensor with normal numbers of that mean and standard deviation.",
    .surface = kMethod | kInplace,
    .cls = Class::Update,
    .shape = floating_target,
    .forward =
        [](Call& c) {
          with_generator(c.attrs[2],
                         [&](Generator& g) { fill_normal(g, c.out[0].view(), c.attrs.f(0), c.attrs.f(1)); });
        },
    .derivative = kForgotten,
};
constexpr OpDef trunc_normal_op = {
    .schema =
        "trunc_normal_(Tensor input, float mean, float std, float a, float b, *, Generator? "
        "generator=None)",
    .doc = "Fills the tensor with normal numbers, drawn again until they lie in [a, b].",
    .cls = Class::Update,
    .shape = floating_target,
    .forward =
        [](Call& c) {
          with_generator(c.attrs[4], [&](Generator& g) {
            fill_trunc_normal(g, c.out[0].view(), c.attrs.f(0), c.attrs.f(1), c.attrs.f(2), c.attrs.f(3));
          });
        },
    .derivative = kForgotten,
};
constexpr OpDef random_any_op = {
    .schema = "random_(Tensor input, *, Generator? generator=None)",
    .doc = "Fills the tensor with whole numbers over the range that its dtype holds exactly.",
    .surface = kMethod | kInplace,
    .cls = Class::Update,
    .shape = any_shape,
    .forward =
        [](Call& c) { with_generator(c.attrs[0], [&](Generator& g) { fill_random(g, c.out[0].view()); }); },
    .derivative = kForgotten,
};
constexpr OpDef random_to_op = {
    .schema = "random_(Tensor input, int to, *, Generator? generator=None)",
    .doc = "Fills the tensor with whole numbers in [0, to).",
    .surface = kMethod | kInplace,
    .cls = Class::Update,
    .shape = any_shape,
    .forward =
        [](Call& c) {
          with_generator(c.attrs[1],
                         [&](Generator& g) { fill_randint(g, c.out[0].view(), 0, c.attrs.i(0)); });
        },
    .derivative = kForgotten,
};
constexpr OpDef random_from_op = {
    .schema = "random_(Tensor input, int from, int? to, *, Generator? generator=None)",
    .doc = "Fills the tensor with whole numbers in [from, to).",
    .surface = kMethod | kInplace,
    .cls = Class::Update,
    .shape = any_shape,
    .forward =
        [](Call& c) {
          with_generator(c.attrs[2], [&](Generator& g) {
            fill_randint(g, c.out[0].view(), c.attrs.i(0),
                         c.attrs.given(1) ? std::optional(c.attrs.i(1)) : std::nullopt);
          });
        },
    .derivative = kForgotten,
};
constexpr OpDef bernoulli_op = {
    .schema = "bernoulli_(Tensor input, float p=0.5, *, Generator? generator=None)",
    .doc = "Fills the tensor with 1 with probability p, else 0.",
    .surface = kMethod | kInplace,
    .cls = Class::Update,
    .shape = any_shape,
    .forward =
        [](Call& c) {
          with_generator(c.attrs[1], [&](Generator& g) { fill_bernoulli(g, c.out[0].view(), c.attrs.f(0)); });
        },
    .derivative = kForgotten,
};

constexpr OpDef bernoulli_each_op = {
    .schema = "bernoulli_(Tensor input, Tensor p, *, Generator? generator=None)",
    .doc = "With a probability for each element, broadcast.",
    .surface = kMethod | kInplace,
    .cls = Class::Update,
    .shape =
        [](Call& c) {
          if (!is_floating(c.in[1].dtype()))
            fail(ErrorKind::DType, "bernoulli_: p must be a floating tensor, got ", name(c.in[1].dtype()));
          const Tensor p = is_half(c.in[1].dtype()) ? to(c.in[1], DType::Float32) : c.in[1];
          c.in[1] = contiguous(expand(p, c.in[0].shape()));
        },
    .forward =
        [](Call& c) {
          with_generator(c.attrs[0],
                         [&](Generator& g) { fill_bernoulli(g, c.out[0].view(), c.in[1].view()); });
        },
    .derivative = custom(
        [](const Record&, const Tensor* g, Tensor* gx) { gx[0] = zeros_like(g[0]); },
        [](const Record&, const Tensor* dx, Tensor* dy) { dy[0] = zeros_like(dx[0] ? dx[0] : dx[1]); }),
    .refuses = true,
};

}  // namespace

void uniform_(const Tensor& t, double from, double to, const Attr& generator) {
  Tensor in[] = {t};
  call_inplace(uniform_op, in, Attrs{from, to, generator});
}
void normal_(const Tensor& t, double mean, double std, const Attr& generator) {
  Tensor in[] = {t};
  call_inplace(normal_fill_op, in, Attrs{mean, std, generator});
}
void trunc_normal_(const Tensor& t, double mean, double std, double a, double b, const Attr& generator) {
  Tensor in[] = {t};
  call_inplace(trunc_normal_op, in, Attrs{mean, std, a, b, generator});
}

std::span<const OpDef* const> random_ops() {
  static const OpDef* const ops[] = {&rand_op,        &randn_op,        &rand_like_op,      &randn_like_op,
                                     &normal_op,      &randint_high_op, &randint_op,        &randperm_op,
                                     &uniform_op,     &normal_fill_op,  &random_any_op,     &random_to_op,
                                     &random_from_op, &bernoulli_op,    &bernoulli_each_op, &trunc_normal_op};
  return ops;
}

}  // namespace unspool
