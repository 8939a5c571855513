from .network import build_network as build_network
from .request import Request as Request
from .tailored_plan import tailor as tailor
from .variant import Variant as Variant
