from .to_nnunet import export_nnunet as export_nnunet
from .to_onnx import export_bundle as export_bundle
from .to_web import export_web as export_web
