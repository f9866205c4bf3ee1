# What the rules of the comparison and of the atlas read, and how they word it.


def run_on(wildcards, output):
    """Find a run on a grid; a function of the output, see `program`."""
    return str(PLAN.run_on(wildcards.grid))


def run_to_make(wildcards):
    """Find the run on a grid that has to be made before its header can be read, if any."""
    return ancient(given(PLAN.run_on(wildcards.grid))) if PLAN.config["dataset"] in SAMPLES else []


def compared_atlas(wildcards):
    """Give the label image on the grid of an image; the comparison takes no other kind of atlas."""
    with users_mistakes():
        PLAN.refuse_comparison()
    return placed_atlas(PLAN.placed_endings[0])(wildcards)


def image_of(wildcards):
    """Give what a strategy reads: the runs themselves, or one file, compressed or the copy that can be mapped."""
    strategy = REGISTRY[wildcards.strategy]
    if strategy.reads_series:
        return runs_of(wildcards)
    ending = "nii" if strategy.uncompressed else "nii.gz"
    return [str(place(f"results/{wildcards.image}/{wildcards.image}_bold.{ending}"))]


def image_input(wildcards):
    """Make an input of what a strategy reads."""
    return [given(path) for path in image_of(wildcards)]


def run_table_of(wildcards):
    """Give the table of runs that a concatenated image needs, to be cleaned run by run."""
    one_file = not REGISTRY[wildcards.strategy].reads_series
    return [place(f"results/{wildcards.image}/runs.tsv")] if one_file and len(PLAN.runs_of(wildcards.image)) > 1 else []


def masks_of(wildcards):
    """List the masks that a strategy reads; without any it reads the atlas."""
    folder = f"results/{wildcards.image}/masks"
    needed = LABELS if REGISTRY[wildcards.strategy].reads_masks else []
    return [place(f"{folder}/region-{label}_mask.nii.gz") for label in needed]


def atlas_of(wildcards):
    """Give the atlas on the image's grid to a strategy that reads no masks."""
    return [] if REGISTRY[wildcards.strategy].reads_masks else [place(f"results/{wildcards.image}/atlas_dseg.nii.gz")]


def regions_option(wildcards):
    """Word where a strategy finds its regions; the folder of the masks stands for all of them."""
    masks = place(f"results/{wildcards.image}/masks") if masks_of(wildcards) else None
    return options_of({"masks": masks, "atlas": atlas_of(wildcards)})


def workers_of(wildcards):
    """Tell how many cores an extraction uses: a strategy without workers is one process.

    `stream` has threads that read ahead and write, but is busy on about 1.2 cores: two thirds of its time are spent in one of
    them, which decompresses.
    """
    return PLAN.config["n_jobs"] if REGISTRY[wildcards.strategy].uses_workers else 1


def cleaning_options(wildcards):
    """Word the config key ``cleaning`` as options of extract_regions.py.

    A function of the wildcards alone: for Snakemake a parameter that is made from a job's input is no reason to run again.
    """
    with users_mistakes():
        options = compared_options(PLAN, wildcards.image)
    if options.pop("per_run", True):
        options["runs"] = run_table_of(wildcards)
    else:
        options["per_run"] = False
    return words_of(options)


def compared_images(wildcards):
    """Word which images a comparison over all images has."""
    if PLAN.config["dataset"] in SAMPLES:
        return options_of({"images": list(PLAN.runs)})
    return options_of({"runs_table": PLAN.config["dataset"]})
