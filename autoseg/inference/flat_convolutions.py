"""Convolutions in 3D written as ones in 2D, which onnxruntime computes faster.

On a processor onnxruntime has blocked kernels for 2D; in 3D it lays out a matrix of all windows and
multiplies. So the slices that a window covers become channels of a plane, and a plane one image of the batch:
the same products, in another order. Logits differ by rounding. Of one thread's CPU time (AVX2, onnxruntime
1.32) DeepMRSeg's network in 3D and nnU-Net's of 32 to 256 features take 0.8 of what they took. Without the
blocked kernels, which a browser lacks, they take 1.15 to 1.2 of it, and such files stay as they were.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

# Of voxels; on smaller planes the kernels for 2D have nothing to block.
_SMALLEST_PLANE = 8
# With 8 channels, windows of 64x64x64 took 1.12 of the time in 2D; with 16 and more 0.68 to 0.93.
_FEWEST_CHANNELS = 16
# Bytes of one image's slices under the kernel, which are copied: 0.6 GB of 96x128x128 voxels, 32 channels.
_MOST_COPIED = 2**27
_ACTIVATIONS = ("LeakyRelu", "Relu")


def flatten_convolutions(path: Path) -> int:
    """Rewrite an ONNX file whose sizes are fixed, the batch excepted.

    Args:
        path: the file, with its weights inside; replaced.

    Returns:
        The number of convolutions that were rewritten; 0: the file stays as it is.
    """
    import onnx

    graph = _Graph(onnx.shape_inference.infer_shapes(onnx.load(path)))
    count = graph.flatten()
    if count:
        onnx.save(graph.model, path)
    return count


class _Graph:
    """An ONNX model that is rewritten node by node."""

    def __init__(self, model: Any) -> None:
        self.model, graph = model, model.graph
        known = [*graph.value_info, *graph.input, *graph.output]
        self.shapes = {
            each.name: [size.dim_value for size in each.type.tensor_type.shape.dim] for each in known
        }
        self.weights = {each.name: each for each in graph.initializer}
        self.outputs = {each.name for each in graph.output}
        self.users: dict[str, list[Any]] = {}
        for node in graph.node:
            for name in node.input:
                self.users.setdefault(name, []).append(node)
        self.merged: set[str] = set()

    def flatten(self) -> int:
        """Rewrite all convolutions that can be; their number."""
        graph, count = self.model.graph, 0
        nodes: list[Any] = []
        for node in graph.node:
            if node.output[0] in self.merged:  # an activation that went along with its convolution
                continue
            given = _attributes(node)
            if self._can_be_flat(node, given):
                nodes += self._flat(node, given, f"flat{count}")
                count += 1
            else:
                nodes.append(node)
        del graph.node[:]
        graph.node.extend(nodes)
        used = {name for node in nodes for name in node.input}
        weights = [each for each in graph.initializer if each.name in used]
        del graph.initializer[:]
        graph.initializer.extend(weights)
        return count

    def _can_be_flat(self, node: Any, given: Mapping[str, Any]) -> bool:
        if node.op_type != "Conv" or node.input[1] not in self.weights:
            return False
        kernel = self.weights[node.input[1]].dims
        usual = given.get("group", 1) == 1 and set(given.get("dilations", [1])) == {1}
        plain = usual and given.get("auto_pad", b"NOTSET") in (b"NOTSET", "NOTSET")
        ends = [self.shapes.get(name, []) for name in (node.input[0], node.output[0])]
        known = all(len(end) == 5 and min(end[1:]) > 0 for end in ends)
        # A kernel of a single voxel is one product already.
        wide = len(kernel) == 5 and max(kernel[2:]) > 1
        if not (plain and known and wide):
            return False
        copied = 4 * kernel[1] * kernel[2] * ends[1][2] * ends[0][3] * ends[0][4]
        pays = kernel[1] >= _FEWEST_CHANNELS and ends[1][3] * ends[1][4] >= _SMALLEST_PLANE
        return bool(pays and copied <= _MOST_COPIED)

    def _flat(self, node: Any, given: Mapping[str, Any], name: str) -> Iterator[Any]:
        """The nodes in place of a convolution (b, c, z, y, x), and of an activation that follows it alone."""
        from onnx import helper, numpy_helper

        kernel = numpy_helper.to_array(self.weights[node.input[1]])
        pads, strides = given.get("pads", [0] * 6), given.get("strides", [1] * 3)
        channels, plane = kernel.shape[1] * kernel.shape[2], self.shapes[node.input[0]][3:]
        heads, *sizes = self.shapes[node.output[0]][1:]
        yield helper.make_node("Transpose", [node.input[0]], [f"{name}_slices"], perm=[0, 2, 1, 3, 4])
        slices = f"{name}_slices"
        if pads[0] or pads[3]:
            around = self._constant(f"{name}_around", [0, pads[0], 0, 0, 0, 0, pads[3], 0, 0, 0])
            yield helper.make_node("Pad", [slices, around], [f"{name}_padded"])
            slices = f"{name}_padded"
        # Of each slice of the result, those that its window covers.
        covered = np.arange(sizes[0])[:, None] * strides[0] + np.arange(kernel.shape[2])
        taken = self._constant(f"{name}_covered", covered)
        yield helper.make_node("Gather", [slices, taken], [f"{name}_windows"], axis=1)
        shape = self._constant(f"{name}_shape", [-1, channels, *plane])
        yield helper.make_node("Reshape", [f"{name}_windows", shape], [f"{name}_planes"])
        flat = kernel.transpose(0, 2, 1, 3, 4).reshape(heads, channels, *kernel.shape[3:])
        weights = self._constant(f"{name}_weights", flat)
        options = {"strides": strides[1:], "pads": [*pads[1:3], *pads[4:]], "kernel_shape": flat.shape[2:]}
        inputs = [f"{name}_planes", weights, *node.input[2:]]
        yield helper.make_node("Conv", inputs, [f"{name}_made"], name=f"{node.name}_flat", **options)
        made, end = f"{name}_made", node.output[0]
        if (activation := self._only_activation(end)) is not None:
            self.merged.add(activation.output[0])
            end = activation.output[0]
            yield helper.make_node(activation.op_type, [made], [f"{name}_active"], **_attributes(activation))
            made = f"{name}_active"
        back = self._constant(f"{name}_back", [-1, sizes[0], heads, *sizes[1:]])
        yield helper.make_node("Reshape", [made, back], [f"{name}_volume"])
        yield helper.make_node("Transpose", [f"{name}_volume"], [end], perm=[0, 2, 1, 3, 4])

    def _only_activation(self, name: str) -> Any | None:
        """The activation that is all that becomes of a value, where it is one."""
        users = self.users.get(name, [])
        fits = len(users) == 1 and users[0].op_type in _ACTIVATIONS and name not in self.outputs
        return users[0] if fits else None

    def _constant(self, name: str, values: Any) -> str:
        from onnx import numpy_helper

        array = np.ascontiguousarray(values)
        self.model.graph.initializer.append(numpy_helper.from_array(array, name))
        return name


def _attributes(node: Any) -> dict[str, Any]:
    from onnx import helper

    return {each.name: helper.get_attribute_value(each) for each in node.attribute}
