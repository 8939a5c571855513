from .engine import Engine as Engine
from .engine import Order as Order
from .engine import Ran as Ran
from .jobs.graph import Graph as Graph
from .jobs.single import run_single as run_single
