"""A small builder of ONNX graphs, and the way a model is written: the same bytes on every machine.

Nothing that differs between machines or runs goes into the file: no producer's date, no path, no
documentation strings. Opset and IR version are fixed, so that a later onnx package writes the same file.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 13
IR_VERSION = 8


class GraphBuilder:
    """Collects nodes and weights; every method returns the name of the tensor it makes."""

    def __init__(self, name: str, image_input: str = "image") -> None:
        self.name = name
        self.image_input = image_input
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []

    def weight(self, name: str, values: np.ndarray) -> str:
        """Adds the constant `values` under `name`."""
        self._weights.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def node(self, operator: str, inputs: list[str], output: str, **attributes) -> str:
        """Adds one node with one output."""
        self._nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    def output(self, tensor: str, width: int) -> None:
        """Declares `tensor`, `[images, width]` of float32, as an output."""
        self._outputs.append(helper.make_tensor_value_info(tensor, TensorProto.FLOAT, ["images", width]))

    def write(self, path: Path) -> None:
        """Checks the graph and writes it to `path`."""
        image = helper.make_tensor_value_info(
            self.image_input, TensorProto.FLOAT, ["images", 3, "height", "width"]
        )
        graph = helper.make_graph(self._nodes, self.name, [image], self._outputs, self._weights)
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="medindex"
        )
        model.ir_version = IR_VERSION
        onnx.checker.check_model(model, full_check=True)
        path.write_bytes(model.SerializeToString(deterministic=True))
