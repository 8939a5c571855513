from .dataset import preprocess_dataset as preprocess_dataset
