from .experiment import plan_experiment as plan_experiment
from .plan import Plan as Plan
from .presets import PRESETS as PRESETS
from .presets import Preset as Preset
from .presets import find_preset as find_preset
