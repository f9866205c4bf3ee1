# Studies: one job for each image, and nothing is written but its results, a BIDS derivatives dataset.

RESULTS = f"{derivatives.FOLDER}/{{folder}}/{{image}}_atlas-{PLAN.atlas_name}"
SUMMARY = [
    f"{derivatives.FOLDER}/{name}"
    for name in (
        "study.tsv",
        "study.png",
        "dataset_description.json",
        ".bidsignore",
        f"atlas-{PLAN.atlas_name}_dseg.tsv",
    )
]

SUMMARY += [f"{derivatives.FOLDER}/atlas-{PLAN.atlas_name}_dseg.json"] if PLAN.atlas_sidecar else []
KINDS = [f"stat-{statistic}_timeseries.json" for statistic in PLAN.statistics]
KINDS += ["voxels.npy"] if PLAN.config["save_voxels"] else []
FIRST_REGIONS = f"{PLAN.placed_atlas(next(iter(PLAN.study)))}_regions.tsv"


def timeseries_options(wildcards):
    """Word the runs of an image, in order, and what is asked for as options of extract_timeseries.py."""
    return words_of(
        {
            "runs": runs_of(wildcards),
            "statistics": PLAN.statistics,
            "save_voxels": PLAN.config["save_voxels"] or None,
            **study_options(PLAN, wildcards.image),
            "memory_shortage": PLAN.config["memory_shortage"],
        }
    )


def summary_options(parquet):
    """Word which study is summarised, and whether it is there in Parquet, as options of summarise_study.py."""
    dataset = PLAN.config["dataset"]
    from_sample = dataset in SAMPLES
    return options_of(
        {
            "study": place(str(derivatives.FOLDER)),
            "logs": place("logs/extract_timeseries"),
            "atlas_name": PLAN.atlas_name,
            "statistic": PLAN.statistics[0],
            "images": list(PLAN.study) if from_sample else None,
            "source": dataset if from_sample else None,
            "runs_table": None if from_sample else dataset,
            **matrix_options(),
            "records": place("resources/connectivity"),
            "parquet": parquet or None,
            "atlas_sidecar": PLAN.atlas_sidecar,
        }
    )


def summarise_what_is_there():
    """Let study.tsv say, when some images of a study have failed, which they are and why.

    Its files get a time before that of their inputs: it is not what the rule would have made, and the rule will make it anew.
    """
    if "extract_timeseries" not in {job.rule.name for job in workflow.dag.jobs} or not Path(FIRST_REGIONS).exists():
        return
    jobs = list(workflow.dag.needrun_jobs())
    pending = [job.wildcards.image for job in jobs if job.rule.name == "extract_timeseries"]
    batches = [job.wildcards.batch for job in jobs if job.rule.name == "connect_regions"]
    parquet = derive_what_is_there(set(pending), batches)
    command = (
        f"{program('summarise_study.py')(None, None)} --regions {shlex.quote(FIRST_REGIONS)} {summary_options(parquet)}"
        f" {words_of({'pending': pending})}"
    )
    subprocess.run(["bash", "-c", f"{command} --log logs/summarise_study.log"], check=False)
    before = Path(FIRST_REGIONS).stat().st_mtime - 1
    for path in [*SUMMARY, *PARQUET]:
        if Path(path).exists():
            os.utime(path, (before, before))


rule extract_timeseries:
    input:
        runs=runs_input,
        confounds=confounds_input,
        sidecars=sidecars_input,
        masks=masks_input,
        atlas=placed_atlas(PLAN.placed_endings[0]),
        regions=placed_atlas("regions.tsv"),
        coverage=placed_atlas("coverage.npy"),
        sidecar=placed_atlas(PLAN.placed_endings[1]),
    output:
        tables=expand(f"{RESULTS}_stat-{{statistic}}_timeseries.tsv", statistic=PLAN.statistics, allow_missing=True),
        sidecars=expand(f"{RESULTS}_stat-{{statistic}}_timeseries.json", statistic=PLAN.statistics, allow_missing=True),
        coverage=f"{RESULTS}_stat-coverage_bold.tsv",
        voxels=[f"{RESULTS}_voxels.{ending}" for ending in ("npy", "tsv") if PLAN.config["save_voxels"]],
    log:
        "logs/extract_timeseries/{folder}/{image}.log",
    conda:
        "../../envs/imaging.yaml"
    threads: 1
    resources:
        mem_mb=timeseries_memory,
    params:
        program=program("extract_timeseries.py"),
        out=lambda wildcards: place(RESULTS.format(**wildcards)),
        # Snakemake looks at the set of inputs only; here their order matters.
        options=timeseries_options,
        code=code_of("extract_timeseries.py"),
    shell:
        "{params.program} --atlas {input.atlas:q} --placed {input.regions:q} {input.coverage:q}"
        " --out {params.out:q} {params.options} --log {log:q}"


rule summarise_study:
    input:
        # One file of each kind: what is not asked for would not be missed where the rest has been made before.
        made=[
            f"{derivatives.image_prefix(image, PLAN.atlas_name)}_{ending}" for image in PLAN.study for ending in KINDS
        ],
        regions=FIRST_REGIONS,
        matrices=RECORDS,
        sidecar=[given(PLAN.atlas_sidecar)] if PLAN.atlas_sidecar else [],
    output:
        SUMMARY[0],
        report(SUMMARY[1], caption="../report/study.rst", category="Study"),
        SUMMARY[2:],
    log:
        "logs/summarise_study.log",
    localrule: True
    conda:
        "../../envs/figures.yaml"
    params:
        program=program("summarise_study.py"),
        order=order_of(PLAN.study),
        options=lambda wildcards: summary_options(PLAN.config["parquet"]),
        code=code_of("summarise_study.py"),
    shell:
        "{params.program} --regions {input.regions:q} {params.options} --log {log:q}"


onerror:
    summarise_what_is_there()
