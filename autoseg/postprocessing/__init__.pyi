from .apply import postprocess as postprocess
from .decide import decide_postprocessing as decide_postprocessing
from .rules import Postprocessing as Postprocessing
from .rules import Rule as Rule
