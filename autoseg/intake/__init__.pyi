from .conversion import import_dataset as import_dataset
from .verification.dataset_check import verify as verify
