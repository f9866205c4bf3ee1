from roistream.errors import UserError as UserError
from roistream.images.image import inspect as inspect
from roistream.images.series import open_series as open_series
from roistream.images.volumes import read_blocks as read_blocks
from roistream.images.writing import write_image as write_image
from roistream.memory.measure import measure as measure
from roistream.memory.predict import predict_peak_mib as predict_peak_mib

__version__: str
