#!/usr/bin/env bash
# Guess:  instance normalisation gives the same in onnxruntime and OpenVINO as in torch, to about 1e-5; of a constant volume 0.
# Seen:   onnxruntime 1.32.0 and OpenVINO 2026.4.1 (float32 asked for, CPU) lose the mean of a large volume. Of 128x128x128
#         voxels that are all 3.7, torch gives 0.0000 and both of them 0.94, at every voxel. With noise of SD 1 about 3,000
#         the output has an SD of 0.19 in place of 1; about 2,000 it is still right to 0.001. 32x32x32 voxels are right
#         there. Both programs are wrong by the same, as if the sum over the volume were kept in float32.
# So:     what a network normalises first needs an offset that is small beside its spread (a z-score, not raw intensities
#         about thousands), and a program that is exchanged for another is compared on large patches, not on small ones.
# Source: onnxruntime 1.32.0, openvino 2026.4.1, torch 2.14.1, numpy 2.4.6, run on 2026-11-29 (AVX2).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "onnx==1.23.2" "onnxruntime==1.32.0" "openvino==2026.4.1" "torch==2.14.1" "numpy==2.4.6"
cat > "$folder/normalise.py" <<'PYTHON'
import sys

import numpy as np
import onnx
import onnxruntime
import openvino
import torch
from onnx import TensorProto, helper

shape = ["n", 1, "z", "y", "x"]
node = helper.make_node("InstanceNormalization", ["in", "scale", "bias"], ["out"], epsilon=1e-5)
graph = helper.make_graph(
    [node],
    "norm",
    [helper.make_tensor_value_info("in", TensorProto.FLOAT, shape)],
    [helper.make_tensor_value_info("out", TensorProto.FLOAT, shape)],
    [helper.make_tensor(name, TensorProto.FLOAT, [1], [value]) for name, value in (("scale", 1.0), ("bias", 0.0))],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
onnx.checker.check_model(model)
onnx.save(model, sys.argv[1])
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
core = openvino.Core()
compiled = core.compile_model(core.read_model(sys.argv[1]), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
programs = {
    "torch": lambda x: torch.nn.functional.instance_norm(torch.from_numpy(x)).numpy(),
    "onnxruntime": lambda x: session.run(None, {"in": x})[0],
    "OpenVINO": lambda x: compiled([x])[0],
}
found = {}
for side in (32, 128):
    size = (1, 1, side, side, side)
    noise = np.random.default_rng(0).standard_normal(size)
    for name, program in programs.items():
        constant = np.abs(program(np.full(size, 3.7, np.float32))).max()
        spread = [float(program((noise + offset).astype(np.float32)).std()) for offset in (0, 3000)]
        found[side, name] = constant, spread[1]
        print(f"{side}^3, {name}: constant {constant:.4f}; SD about 0: {spread[0]:.3f}, about 3,000: {spread[1]:.3f}")
for (side, name), (constant, spread) in found.items():
    wrong = side == 128 and name != "torch"
    assert (constant > 0.5) == wrong and (spread < 0.5) == wrong, (side, name, constant, spread)
PYTHON
"$folder/venv/bin/python" "$folder/normalise.py" "$folder/norm.onnx"
