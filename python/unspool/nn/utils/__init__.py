"""Gradient clipping, parameters as one vector or as functions of others, and layers joined for evaluation."""

from __future__ import annotations

from unspool.nn.utils import parametrizations, parametrize, prune, rnn, stateless
from unspool.nn.utils.clip_grad import clip_grad_norm_, clip_grad_value_, clip_grads_with_norm_, get_total_norm
from unspool.nn.utils.convert_parameters import parameters_to_vector, vector_to_parameters
from unspool.nn.utils.fusion import fuse_linear_bn_eval, fuse_linear_bn_weights
from unspool.nn.utils.init import skip_init
from unspool.nn.utils.spectral_norm import remove_spectral_norm, spectral_norm
from unspool.nn.utils.weight_norm import remove_weight_norm, weight_norm

__all__ = [
    "clip_grad_norm_", "clip_grad_value_", "clip_grads_with_norm_", "fuse_linear_bn_eval", "fuse_linear_bn_weights",
    "get_total_norm", "parameters_to_vector", "parametrizations", "parametrize", "prune", "remove_spectral_norm",
    "remove_weight_norm", "rnn", "skip_init", "spectral_norm", "stateless", "vector_to_parameters", "weight_norm",
]  # fmt: skip
