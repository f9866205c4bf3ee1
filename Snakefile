from snakemake.utils import min_version

min_version("9.15")


include: "workflow/rules/common.smk"
include: "workflow/rules/requests.smk"
include: "workflow/rules/inputs.smk"
include: "workflow/rules/study.smk"
include: "workflow/rules/images.smk"
include: "workflow/rules/regions.smk"
include: "workflow/rules/extraction.smk"
include: "workflow/rules/comparison.smk"
include: "workflow/rules/connectome.smk"
include: "workflow/rules/timeseries.smk"


rule all:
    default_target: True
    input:
        expand("results/{image}/memory_comparison.{ending}", image=list(PLAN.runs), ending=["tsv", "png", "svg"]),
        STUDY,


rule timeseries:
    input:
        SUMMARY,
        PARQUET,
