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
