"""Linear layers in int8, for reading on processors: weights and inputs in 8 bits, sums in 32.

Every output channel has a scale of its weights, every row a scale and an offset of its inputs
(dynamic quantisation by token; ZeroQuant, Yao et al., 2022), anew for each :data:`BLOCK` columns.
Before, columns whose inputs are large and whose weights are small are evened out,
``W x = (W s) (x / s)`` (SmoothQuant; Xiao et al., 2023): else a few large columns take most of the
256 levels.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Module = TypeVar("Module", bound=nn.Module)
BLOCK = 512
"""Columns that share scales, at most."""
ROWS = 32
"""Rows are filled up to a multiple of this: oneDNN compiles code for every number of rows."""
TINY = 1e-8
MOST = 1e4
"""How far a column is evened out, at most."""


def int8_products() -> bool:
    """Return True if this PyTorch multiplies int8 matrices on the CPU, by oneDNN."""
    return torch.backends.mkldnn.is_available() and hasattr(  # type: ignore[no-untyped-call]
        torch.ops.onednn, "qlinear_pointwise"
    )


def is_fast() -> bool:
    """Return True on processors that add four int8 products at once in 32 bits (VNNI).

    Intel's have it since 2019, AMD's since Zen 4.
    """
    return bool(getattr(torch.cpu, "_is_vnni_supported", lambda: False)())


def levels() -> int:
    """Largest weight in its 8 bits: 127; 63 without VNNI, where ``255 * 127 * 2`` is cut off."""
    return 127 if is_fast() else 63


def in_int8(module: Module, run: Callable[[Module], object], keep: Collection[str] = ()) -> Module:
    """Return a copy of a module in evaluation mode, the linear layers that it calls in int8.

    Layers of subclasses of ``nn.Linear`` stay.

    Args:
        module: the module, float32, on the CPU.
        run: passes some inputs through the module it is given, to see how large they are.
        keep: names of layers that stay, such as the last one.

    >>> net = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 2)).eval()
    >>> x = torch.linspace(-1, 1, 640).view(10, 64)
    >>> small = in_int8(net, lambda whole: whole(x))
    >>> bool((small(x) - net(x)).abs().max() < 0.02)
    True
    """
    made = copy.deepcopy(module)
    parts = made.named_modules()
    layers = {n: part for n, part in parts if type(part) is nn.Linear and n not in keep}
    largest: dict[str, Tensor] = {}

    def watch(name: str) -> Callable[..., None]:
        def see(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            columns = inputs[0].detach().abs().flatten(0, -2).amax(0)
            largest[name] = torch.maximum(largest[name], columns) if name in largest else columns

        return see

    hooks = [layer.register_forward_pre_hook(watch(name)) for name, layer in layers.items()]
    with torch.no_grad():
        run(made)
    for hook in hooks:
        hook.remove()
    for name, columns in largest.items():
        parent, _, leaf = name.rpartition(".")
        setattr(made.get_submodule(parent), leaf, Int8Linear(layers[name], columns))
    return made


class Int8Linear(nn.Module):
    """``nn.Linear`` in int8, without gradients.

    With ``x' = x / s``, the offset z and step t of a row, and the scale c of a channel, each of a
    block of columns: ``y = sum_blocks (round(x' / t + z) Q.T - z sum(Q)) t c + b``,
    ``Q = round(W s / c)``.

    Args:
        linear: float32, on the CPU.
        largest: absolute values of its inputs, by column.
    """

    def __init__(self, linear: nn.Linear, largest: Tensor) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        weight = linear.weight.detach()
        even = (largest.clamp(min=TINY) / weight.abs().amax(0).clamp(min=TINY)).sqrt()
        even = even.clamp(1 / MOST, MOST)
        self.bias = None if linear.bias is None else linear.bias.detach()
        self._shrink = even.reciprocal()
        self._blocks = [_Block(own) for own in (weight * even).chunk(_blocks(self.in_features), 1)]

    def forward(self, x: Tensor) -> Tensor:
        """Return ``[..., out_features]`` of float32 ``[..., in_features]``."""
        scaled = x.reshape(-1, self.in_features) * self._shrink
        rows = scaled.view(len(scaled), len(self._blocks), -1)
        low, high = rows.amin(2, keepdim=True), rows.amax(2, keepdim=True)
        low.clamp_(max=0.0)
        step = high.clamp_(min=0.0).sub_(low).clamp_(min=TINY).div_(255.0)
        zero = low.div_(step).neg_().round_()
        whole = rows.div_(step).add_(zero).round_().clamp_(0, 255).to(torch.uint8).transpose(0, 1)
        filled = F.pad(whole, (0, 0, 0, -len(scaled) % ROWS)).contiguous()
        parts = zip(self._blocks, filled, step.unbind(1), zero.unbind(1), strict=True)
        made = [block(own)[: len(scaled)].addr_(z[:, 0], block.sums, alpha=-1.0).mul_(t)
                for block, own, t, z in parts]  # fmt: skip
        out = made[0] if self.bias is None else made[0].add_(self.bias)
        for other in made[1:]:
            out += other
        return out.view(*x.shape[:-1], self.out_features)


class _Block:
    """Products with a weight ``[H, d]`` in int8; never changed.

    ``sums`` are those of its rows, ``[H]``.
    """

    def __init__(self, weight: Tensor) -> None:
        self._scale = weight.abs().amax(1).clamp(min=TINY) / levels()
        whole = (weight / self._scale.unsqueeze(1)).round_().to(torch.int8)
        self.sums = whole.sum(1, dtype=torch.int32) * self._scale
        self._packed = torch.ops.onednn.qlinear_prepack(whole, None)
        self._zeros = torch.zeros(len(whole), dtype=torch.int64)

    def __deepcopy__(self, _: Any) -> _Block:
        """Return itself: what oneDNN packs cannot be copied."""
        return self

    def __call__(self, x: Tensor) -> Tensor:
        """``x @ weight.T`` in float32, ``[B, H]``, of bytes ``[B, d]``."""
        made: Tensor = torch.ops.onednn.qlinear_pointwise(
            x, 1.0, 0, self._packed, self._scale, self._zeros,
            None, 1.0, 0, torch.float32, "none", [], "",
        )  # fmt: skip
        return made


def _blocks(columns: int) -> int:
    """The fewest blocks of equal width that :data:`BLOCK` allows; 1 where those were many."""
    fewest = -(-columns // BLOCK)
    return next((n for n in range(fewest, 4 * fewest) if columns % n == 0), 1)
