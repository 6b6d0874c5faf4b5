"""Trains, from random weights, the small CIFAR-10 net that the README compiles, and cuts the slice of images beside it.

    python examples/train_small_net.py --out examples [--epochs 20] [--jobs 2]

writes small_net.onnx (input `image` [N, 3, 32, 32]: x / 255, then ImageNet mean and std; BatchNormalization folded),
cifar10_slice.npz (1,000 images that it was trained on) and cifar10_validation.npz (500 that it was not). All come from
CIFAR-10's training images; its test images are never read.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.cifar10 import load_cifar10  # noqa: E402
from pfir.artifact import TensorSpec  # noqa: E402
from pfir.data import parse_preprocess  # noqa: E402
from pfir.data.files.arrays import ArrayDataset  # noqa: E402
from pfir.ir.model import Model  # noqa: E402
from pfir.passes.base import Context  # noqa: E402
from pfir.passes.batch_norm.fold import FoldBatchNorm  # noqa: E402
from pfir.passes.distillation.attach_teacher import DistillationSettings, attach_teacher  # noqa: E402
from pfir.run.evaluate import accuracy  # noqa: E402
from pfir.train.fitting.progress import Progress  # noqa: E402
from pfir.train.settings import Settings  # noqa: E402
from pfir.train.trainer import fit  # noqa: E402

PREPROCESS = "scale=1/255,mean=0.485:0.456:0.406,std=0.229:0.224:0.225"
# Channels and stride of each residual block: 152 thousand parameters, 17 million MACs.
BLOCKS = ((16, 1), (32, 2), (64, 2), (64, 1))
CLASSES = 10
# The last training images are held out: 500 of them are the validation file, all of them measure the net.
HELD_OUT = 2_500
SLICE = 1_000
VALIDATION = 500


def main() -> None:
    arguments = _arguments()
    images = load_cifar10()
    x, y = images["train_x"], images["train_y"]
    arguments.out.mkdir(parents=True, exist_ok=True)
    _write_slices(arguments.out, x, y)
    model = build(arguments.seed)
    train, held_out = _data(model, x[:-HELD_OUT], y[:-HELD_OUT]), _data(model, x[-HELD_OUT:], y[-HELD_OUT:])
    graph = attach_teacher(model, None, DistillationSettings(label_weight=1.0))
    settings = Settings(
        epochs=arguments.epochs,
        batch=128,
        learning_rate=0.1,
        weight_decay=5e-4,
        warmup_share=0.1,
        clip=5.0,
        seed=arguments.seed,
        jobs=arguments.jobs,
        augment="flip-crop",
        time_budget_s=arguments.seconds,
    )
    model.set_arrays(fit(graph, train, settings, _Printer()).arrays)
    FoldBatchNorm().apply(model, Context())
    model.graph.cleanup().toposort()
    (arguments.out / "small_net.onnx").write_bytes(model.to_bytes())
    print(f"accuracy on {HELD_OUT} held-out training images: {accuracy(model, held_out):.2%}")


def build(seed: int) -> Model:
    """The net with random weights (He et al., "Delving Deep into Rectifiers", arXiv:1502.01852, section 2.2)."""
    net = _Net(np.random.default_rng(seed))
    x = net.relu(net.conv("stem", "image", 3, BLOCKS[0][0], 3, 1))
    width = BLOCKS[0][0]
    for i, (channels, stride) in enumerate(BLOCKS):
        x = net.block(f"block{i}", x, width, channels, stride)
        width = channels
    x = net.node("GlobalAveragePool", [x], "pool")
    x = net.node("Flatten", [x], "features", axis=1)
    weight = net.constant("classifier.weight", net.random.normal(0, 0.05, (CLASSES, width)))
    net.node("Gemm", [x, weight, net.constant("classifier.bias", np.zeros(CLASSES))], "logits", transB=1)
    return net.model()


class _Net:
    def __init__(self, random: np.random.Generator) -> None:
        self.random = random
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def constant(self, name: str, value: np.ndarray) -> str:
        self._constants.append(numpy_helper.from_array(np.asarray(value, np.float32), name))
        return name

    def node(self, op: str, inputs: list[str], output: str, **attrs: object) -> str:
        self._nodes.append(helper.make_node(op, inputs, [output], output, **attrs))
        return output

    def relu(self, x: str) -> str:
        return self.node("Relu", [x], f"{x}.relu")

    def conv(self, name: str, x: str, inputs: int, outputs: int, kernel: int, stride: int) -> str:
        """A convolution without bias, then BatchNormalization."""
        size = (outputs, inputs, kernel, kernel)
        weight = self.constant(f"{name}.weight", self.random.normal(0, np.sqrt(2 / (inputs * kernel**2)), size))
        y = self.node(
            "Conv", [x, weight], f"{name}.conv", kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[kernel // 2] * 4
        )
        start = {"scale": np.ones, "bias": np.zeros, "mean": np.zeros, "var": np.ones}
        statistics = [self.constant(f"{name}.bn.{k}", value(outputs)) for k, value in start.items()]
        return self.node("BatchNormalization", [y, *statistics], f"{name}.bn")

    def block(self, name: str, x: str, inputs: int, outputs: int, stride: int) -> str:
        """Two convolutions beside a shortcut: He et al., "Deep Residual Learning", arXiv:1512.03385, section 3."""
        inner = self.relu(self.conv(f"{name}.first", x, inputs, outputs, 3, stride))
        inner = self.conv(f"{name}.second", inner, outputs, outputs, 3, 1)
        plain = stride == 1 and inputs == outputs
        shortcut = x if plain else self.conv(f"{name}.shortcut", x, inputs, outputs, 1, stride)
        return self.relu(self.node("Add", [inner, shortcut], f"{name}.sum"))

    def model(self) -> Model:
        image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, 32, 32])
        logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", CLASSES])
        graph = helper.make_graph(self._nodes, "small_net", [image], [logits], self._constants)
        proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        return Model.from_proto(proto, "small_net")


class _Printer:
    def __init__(self) -> None:
        self._epoch = 0

    def __call__(self, progress: Progress) -> None:
        if progress.note or progress.epoch != self._epoch:
            self._epoch = progress.epoch
            left = f"{progress.seconds_left:.0f} s left" if progress.seconds_left is not None else ""
            print(
                progress.note
                or f"epoch {progress.epoch}/{progress.epochs} loss {progress.loss:.3f} "
                f"{progress.samples_per_s:.0f} images/s {left}",
                flush=True,
            )


def _data(model: Model, x: np.ndarray, y: np.ndarray) -> ArrayDataset:
    spec: TensorSpec = model.inputs()[0]
    return ArrayDataset({"x": x, "y": y}, [spec], parse_preprocess(PREPROCESS), "CIFAR-10")


def _write_slices(folder: Path, x: np.ndarray, y: np.ndarray) -> None:
    np.savez_compressed(folder / "cifar10_slice.npz", x=x[:SLICE], y=y[:SLICE])
    np.savez_compressed(folder / "cifar10_validation.npz", x=x[-VALIDATION:], y=y[-VALIDATION:])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=None)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=None, help="end after this time, however many epochs are left")
    return parser.parse_args()


if __name__ == "__main__":
    main()
