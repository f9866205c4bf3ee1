# The memory that jobs ask a scheduler for.


def overhead_mib():
    """Look up what a cluster's job takes beside the program of its rule: a profile tells, see workflow/profiles."""
    given = workflow.resource_settings.default_resources
    return int(dict(pair.split("=", 1) for pair in given.args).get("job_overhead", 0)) if given else 0


def request_mb(peak_mib, attempt):
    """Ask for a peak, and for half of it more with each further attempt. What ``mem_mb`` counts are MiB to a scheduler."""
    return math.ceil(peak_mib * (1 + attempt) / 2) + OVERHEAD_MIB


def memory_of(peak_mib, mib_per_million_voxels=0):
    """Make the request of a step that takes as much for every image, or more for a finer grid (docs/scaling.md)."""

    def mem_mb(wildcards, attempt):
        finest = PLAN.finest(wildcards.image) if mib_per_million_voxels else 0
        return request_mb(peak_mib + mib_per_million_voxels * finest / 1e6, attempt)

    return mem_mb


def extraction_memory(wildcards, input, attempt, threads):
    """Make the request of an extraction, when the image and its regions are there: until then Snakemake calls it TBD."""
    files = image_of(wildcards)
    if REGISTRY[wildcards.strategy].uncompressed:  # its copy is made of this one, with the same header
        files = [place(f"results/{wildcards.image}/{wildcards.image}_bold.nii.gz")]
    if not all(map(os.path.exists, [*files, input.regions])):
        # Of an input, or Snakemake takes it for a mistake; the image is none of the strategy that reads a copy.
        raise FileNotFoundError(errno.ENOENT, "is not there yet", input.regions)
    return request_mb(PLAN.extraction_mib(wildcards.strategy, files, input.regions, threads), attempt)


def timeseries_memory(wildcards, input, attempt):
    """Make the request of the extraction of an image of a study, when its runs are there, and the maps or spheres if it has such.

    Until then it is TBD.
    """
    for path in [*input.runs, *([] if PLAN.atlas_kind == "labels" else [input.sidecar])]:
        if not Path(path).exists():
            raise FileNotFoundError(errno.ENOENT, "is not there yet", path)
    return request_mb(PLAN.timeseries_mib(wildcards.image), attempt)


def placing_memory(wildcards, attempt):
    """Make the request of putting the atlas on a grid: it and the grid are held in memory."""
    return request_mb(PLAN.placing_mib(wildcards.grid), attempt)


def connection_memory(wildcards, attempt):
    """Make the request of the matrices of a batch: nilearn, and some copies of a matrix of all regions."""
    return request_mb(250 + 10 * 8 * len(PLAN.names) ** 2 / 2**20, attempt)


def parquet_memory(wildcards, attempt):
    """Make the request of the Parquet files: 4 KiB for each column of connectivity, a group of rows, and notes on all groups."""
    n_pairs = len(PLAN.config["connectivity"]) * len(PLAN.names) ** 2 / 2
    return request_mb(150 + n_pairs * (4096 + 240 * math.sqrt(len(PLAN.study))) / 2**20, attempt)


OVERHEAD_MIB = overhead_mib()
