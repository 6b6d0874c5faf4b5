"""The record that is kept of an operator, and its parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

ONNX = ""
MICROSOFT = "com.microsoft"
"""The domain of ONNX Runtime's own operators."""


class Form(Enum):
    """What an operator computes, apart from scales, zero points and fused activations."""

    CONVOLUTION = "a sum over windows; the weight is [O, I / groups, *k]"
    TRANSPOSED_CONVOLUTION = "the gradient of a convolution; the weight is [I, O / groups, *k]"
    GEMM = "a product of two matrices, either of which attributes may transpose, and an addend"
    MATMUL = "a product of two stacks of matrices"
    PACKED_MATMUL = "a product with a matrix that is stored in packed blocks of a few bits"
    EINSUM = "a sum of products, as an equation says"
    RECURRENT = "a cell that is repeated over a sequence"
    ATTENTION = "products for queries, keys and values, then averages by their scores"
    NORMALIZATION = "data less its mean, by its deviation, scaled and shifted by channel"
    LOOKUP = "rows of a table, picked by indices"
    ELEMENTWISE = "one number from the numbers at the same position"
    POOL = "one number from the numbers of a window"
    CONCAT = "parts side by side"


LINEAR = (Form.CONVOLUTION, Form.TRANSPOSED_CONVOLUTION, Form.GEMM, Form.MATMUL)
"""The forms y = W x + b."""


@dataclass(frozen=True)
class Weight:
    """An input that data is multiplied with, and how channels lie in it.

    Args:
        place: Which input it is.
        outputs: Axis of the output channels, from the front or the end.
        inputs: Axis of the input channels.
        turned_by: Attribute that swaps these two axes; "" where there is none.
    """

    place: int
    outputs: int
    inputs: int
    turned_by: str = ""


@dataclass(frozen=True)
class Integers:
    """Where it is said what integers stand for, which is scale * (integer - zero point).

    Args:
        scale: Input that holds the scale; None where the operator counts in steps.
        zero_point: Input that holds the zero point.
    """

    scale: int | None
    zero_point: int


@dataclass(frozen=True)
class Gate:
    """A gate of a recurrent cell: a block of H rows in each weight and each half of the bias.

    Args:
        name: As ONNX describes it.
        function: Which of the cell's activation functions it goes through.
        peephole: Which block of H numbers of the peepholes it reads the cell with; None where it reads no cell.
        after_reset: Whether it may read the state only once that has been reset (a GRU's without linear_before_reset).
    """

    name: str
    function: int
    peephole: int | None = None
    after_reset: bool = False


@dataclass(frozen=True)
class Cell:
    """A recurrent cell; its bias is [D, 2 * G * H], first what belongs to the input, then what belongs to the state.

    Args:
        gates: In the order of their rows.
        functions: The activation functions that it has unless told otherwise, in their order.
        recurrence: The weight that the state is multiplied with.
        states: Inputs that hold what it starts with: the hidden state, then the cell where there is one.
        lengths: Input that holds the lengths of the sequences.
        peepholes: Input that holds what gates read of their own cell; None where there is none.
    """

    gates: tuple[Gate, ...]
    functions: tuple[str, ...]
    recurrence: Weight
    states: tuple[int, ...]
    lengths: int = 4
    peepholes: int | None = None

    def gate(self, name: str) -> int:
        """Which block of rows a gate has."""
        return [gate.name for gate in self.gates].index(name)


@dataclass(frozen=True)
class Operator:
    """What is known of an operator.

    Args:
        name: As ONNX writes it.
        form: What it computes.
        domains: Where it is defined so.
        data: The input that holds activations.
        weight: What it multiplies the data with; of a recurrent cell what the input is multiplied with.
        bias: Input that holds one addend an output channel.
        factors: Inputs that hold one factor or addend a channel, in normalisations and activation functions.
        statistics: Inputs that hold running statistics, one number a channel.
        channel_axis: Axis of the data along which factors and statistics lie; None where attributes decide it.
        tables: Inputs of which rows are picked.
        scaled_by: Attribute by which the product is multiplied; "" where there is none.
        bias_scaled_by: Attribute by which the bias is multiplied; "" where there is none.
        cell: Of a recurrent layer.
        integers: Input that holds integers to where it is said what they stand for.
        result: Where it is said what the integers of the output stand for; None if the output is none of integers.
    """

    name: str
    form: Form
    domains: tuple[str, ...] = (ONNX,)
    data: int = 0
    weight: Weight | None = None
    bias: int | None = None
    factors: tuple[int, ...] = ()
    statistics: tuple[int, ...] = ()
    channel_axis: int | None = None
    tables: tuple[int, ...] = ()
    scaled_by: str = ""
    bias_scaled_by: str = ""
    cell: Cell | None = None
    integers: Mapping[int, Integers] = field(default_factory=dict)
    result: Integers | None = None

    @property
    def is_linear(self) -> bool:
        """Whether it computes y = W x + b."""
        return self.form in LINEAR

    @property
    def weights(self) -> tuple[Weight, ...]:
        """All that data or states are multiplied with."""
        both = (self.weight, None if self.cell is None else self.cell.recurrence)
        return tuple(weight for weight in both if weight is not None)

    @property
    def kernels(self) -> tuple[int, ...]:
        """Inputs that hold a whole kernel or table, if they are constant; either factor of a product may be."""
        return (self.data, *(w.place for w in self.weights)) if self.weights else self.tables

    @property
    def parameters(self) -> tuple[int, ...]:
        """Inputs that hold what training fits."""
        addend = () if self.bias is None else (self.bias,)
        either = (self.data,) if self.form in (Form.GEMM, Form.MATMUL) else ()
        return (*either, *(w.place for w in self.weights), *addend, *self.factors, *self.tables)
