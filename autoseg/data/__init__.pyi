from .dataset import Dataset as Dataset
from .dataset import load_dataset as load_dataset
from .fingerprint import Fingerprint as Fingerprint
from .fingerprint import extract_fingerprint as extract_fingerprint
from .folds import Fold as Fold
from .folds import make_folds as make_folds
from .synthetic import make_demo as make_demo
