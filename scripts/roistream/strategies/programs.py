"""What programs take before they hold any data, on which predictions are built."""

MIB = 2**20

# What programs take before they hold any data, in MiB: Linux, Python 3.11 and the versions in envs/, measured with an image
# of 2 MiB. An interpreter of its own with …
WITH_NUMPY = 31.0
WITH_NIBABEL = 46.0
WITH_LINALG = 62.0  # … scipy.linalg and scipy.sparse
WITH_SIGNAL = 153.0  # … nilearn.signal
WITH_IMAGE = 165.0  # … nilearn.image, to smooth
WITH_MASKERS = 195.0  # … nilearn.maskers
TRACKER = 11.0  # Python's process that removes shared memory

# A pool of joblib's workers: what it takes itself, then each worker, whose libraries the pool shares.
POOL = 31.0
WORKER = 30.5
WORKER_WITH_SIGNAL = 115.0
WORKER_WITH_MASKERS = 138.0
