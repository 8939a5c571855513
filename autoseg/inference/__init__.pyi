from .model import Model as Model
from .model import load_model as load_model
from .predict import predict_cases as predict_cases
