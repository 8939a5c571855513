from .select_model import Selection as Selection
from .select_model import select_model as select_model
from .settings import Settings as Settings
from .walk import Outcome as Outcome
from .walk import plan_and_train as plan_and_train
