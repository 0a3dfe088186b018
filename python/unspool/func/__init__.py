"""Functions made of functions: gradients, products with Jacobians, Jacobians, mapped ones; and `functional_call`."""

from __future__ import annotations

from unspool.func._functional_call import functional_call, stack_module_state
from unspool.func._jacobians import hessian, jacfwd, jacrev
from unspool.func._transforms import grad, grad_and_value, jvp, linearize, vjp
from unspool.func._vmap import vmap

__all__ = [
    "functional_call", "grad", "grad_and_value", "hessian", "jacfwd", "jacrev", "jvp", "linearize",
    "stack_module_state", "vjp", "vmap",
]  # fmt: skip
