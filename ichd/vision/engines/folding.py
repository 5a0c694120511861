"""Batch norms folded into the convolutions before them: the same function in half the passes over memory."""

import operator
from typing import Any

import torch
from torch import Tensor, fx, nn


def folded(network: nn.Module, example: Tensor) -> fx.GraphModule:
    """`network` for inputs of the shape of `example`, without the batch norms that follow a convolution.

    Read off the graph that torch exports, so that it holds for every backbone: a norm is folded where it is the only
    reader of a plain convolution's output. `network` is in evaluation mode, on the CPU, in fp32; it is left as it is,
    but shares the weights that were not folded: cast those of one, and you cast the other's.
    """
    with torch.no_grad():
        # Not strict: timm's modules are read as they run, and nothing in them depends on values.
        module: fx.GraphModule = torch.export.export(network, (example,), strict=False).module()
        for norm in [node for node in module.graph.nodes if node.target is torch.ops.aten.batch_norm.default]:
            convolution = norm.args[0]
            if convolution.target is torch.ops.aten.conv2d.default and len(convolution.users) == 1:
                _fold(module, convolution, norm)
    module.graph.eliminate_dead_code()
    _forget_unread(module)
    module.recompile()
    return module


def _fold(module: fx.GraphModule, convolution: fx.Node, norm: fx.Node) -> None:
    """w' = w * gamma / sqrt(var + eps); b' = (b - mean) * gamma / sqrt(var + eps) + beta, an output channel each."""
    bias_node = convolution.args[2] if len(convolution.args) > 2 else None
    weight, mean, variance = (_value(module, node).double() for node in (convolution.args[1], *norm.args[3:5]))
    # A convolution may lack its bias, and a norm its gain and shift.
    bias, gamma, beta = (
        _value(module, node).double() if node is not None else torch.full_like(mean, default)
        for node, default in ((bias_node, 0.0), (norm.args[1], 1.0), (norm.args[2], 0.0))
    )
    epsilon = float(norm.args[7])  # type: ignore[arg-type]
    scale = gamma * (variance + epsilon).rsqrt()
    for name, value in (
        ("weight", weight * scale[:, None, None, None]),
        ("bias", (bias - mean) * scale + beta),
    ):
        module.register_buffer(f"{convolution.name}_folded_{name}", value.float())
    with module.graph.inserting_before(convolution):
        new = [module.graph.get_attr(f"{convolution.name}_folded_{name}") for name in ("weight", "bias")]
    convolution.args = (convolution.args[0], *new, *convolution.args[3:])
    norm.replace_all_uses_with(convolution)
    module.graph.erase_node(norm)


def _forget_unread(module: fx.GraphModule) -> None:
    """Take out the weights that the graph doesn't read: those that were folded, and those of what follows."""
    read = {str(node.target) for node in module.graph.nodes if node.op == "get_attr"}
    named = [*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False)]
    for name, _ in named:
        if name not in read:
            owner, _, own_name = name.rpartition(".")
            delattr(module.get_submodule(owner), own_name)


def _value(module: fx.GraphModule, node: Any) -> Tensor:
    value: Tensor = operator.attrgetter(str(node.target))(module)
    return value
