from .data import extract_fingerprint as extract_fingerprint
from .data import load_dataset as load_dataset
from .data import make_folds as make_folds
from .errors import AutosegError as AutosegError
from .evaluation import evaluate as evaluate
from .export import export_bundle as export_bundle
from .inference import load_model as load_model
from .inference import predict_cases as predict_cases
from .intake import verify as verify
from .leaderboard import load_records as load_records
from .leaderboard import rank as rank
from .pipeline import Settings as Settings
from .pipeline import plan_and_train as plan_and_train
from .pipeline import select_model as select_model
from .planner import Plan as Plan
from .planner import plan_experiment as plan_experiment
from .preprocessing import preprocess_dataset as preprocess_dataset
from .run import Run as Run
from .tailoring import build_network as build_network
from .training import Trainer as Trainer
from .training import train as train
from .transfer import FineTunePolicy as FineTunePolicy
from .workspace import Workspace as Workspace

__version__: str
