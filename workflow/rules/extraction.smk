# The extraction of all regions of an image by one strategy, measured from outside in a process tree of its own.


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
