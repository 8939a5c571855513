from .conversion import import_dataset as import_dataset
from .incoming import Content as Content
from .incoming import Incoming as Incoming
from .incoming import IncomingCase as IncomingCase
from .incoming import Request as Request
from .layout import Layout as Layout
from .listing import list_cases as list_cases
from .verification.dataset_check import verify as verify
