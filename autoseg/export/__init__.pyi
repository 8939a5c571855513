from .to_nnunet import export_nnunet as export_nnunet
from .to_onnx import export_bundle as export_bundle
