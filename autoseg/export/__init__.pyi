from .to_nnunet import export_nnunet as export_nnunet
