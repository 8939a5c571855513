"""A bundle: a trained model that segments with onnxruntime, numpy, scipy and SimpleITK alone."""
