"""Names of JAX's primitives that all parts of the analysis have to know."""

__all__ = ["ELEMENTWISE", "SPREADING"]

ELEMENTWISE: frozenset[str] = frozenset({
    "abs", "acos", "acosh", "add", "add_any", "and", "asin", "asinh", "atan", "atan2", "atanh",
    "bessel_i0e", "bessel_i1e", "cbrt", "ceil", "clamp", "clz", "convert_element_type", "copy", "copy_p",
    "cos", "cosh", "digamma", "div", "eq", "erf", "erf_inv", "erfc", "exp", "exp2", "expm1", "floor", "ge",
    "gt", "igamma", "igammac", "integer_pow", "is_finite", "le", "lgamma", "log", "log1p", "logistic", "lt",
    "max", "min", "mul", "ne", "neg", "nextafter", "not", "or", "polygamma", "population_count", "pow",
    "regularized_incomplete_beta", "rem", "round", "rsqrt", "select_n", "shift_left",
    "shift_right_arithmetic", "shift_right_logical", "sign", "sin", "sinh", "sqrt", "square",
    "stop_gradient", "sub", "tan", "tanh", "xor", "zeta",
})
"""Those that act element by element, on any number of operands."""

SPREADING: frozenset[str] = frozenset({
    "add", "add_any", "broadcast_in_dim", "convert_element_type", "copy", "cumsum", "div", "dot_general", "exp", "integer_pow",
    "lgamma", "log", "log1p", "mul", "neg", "reduce_sum", "reshape", "rsqrt", "sqrt", "square", "squeeze", "sub", "transpose",
})
"""Those of whose operands every element that is NaN makes some element of the result NaN, whatever the others are (floats, and not to the power 0)."""
