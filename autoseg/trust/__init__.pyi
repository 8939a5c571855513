from .evidence import Evidence as Evidence
from .fit import fit_quality as fit_quality
from .quality_model import Quality as Quality
from .quality_model import QualityModel as QualityModel
