# The extraction of all regions of an image by one strategy, measured from outside in a process tree of its own.


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


rule extract_regions:
    input:
        image=image_input,
        runs=run_table_of,
        confounds=confounds_input,
        masks=masks_of,
        atlas=atlas_of,
        regions="results/{image}/regions.tsv",
    output:
        timeseries=expand("results/{{image}}/{{strategy}}/region-{label}_timeseries.npy", label=LABELS),
        means="results/{image}/{strategy}/timeseries.tsv",
        facts="results/{image}/{strategy}/extraction.json",
        trace="results/{image}/{strategy}/memory.tsv",
        summary="results/{image}/{strategy}/memory.json",
    log:
        "logs/extract_regions/{image}/{strategy}.log",
    conda:
        "../../envs/imaging.yaml"
    threads: workers_of
    resources:
        mem_mb=extraction_memory,
    params:
        measure=program("measure_memory.py"),
        program=program("extract_regions.py"),
        folder=lambda wildcards: place(f"results/{wildcards.image}/{wildcards.strategy}"),
        # Peak memory is a result, and that of six workers is not that of one.
        n_jobs=workers_of,
        # Snakemake looks at the set of inputs only; here their order matters.
        image=lambda wildcards: words_of({"image": image_of(wildcards)}),
        regions=regions_option,
        cleaning=cleaning_options,
        shortage=PLAN.config["memory_shortage"],
        code=code_of("extract_regions.py", "measure_memory.py"),
    shell:
        "{params.measure}"
        " --trace {output.trace:q} --summary {output.summary:q} --include {output.facts:q} --"
        " {params.program} --strategy {wildcards.strategy:q} {params.image} {params.regions}"
        " --regions {input.regions:q} --out {params.folder:q}"
        " --memory-shortage {params.shortage} --n-jobs {threads} {params.cleaning}"
        " 2>&1 | tee {log:q} >&2"
