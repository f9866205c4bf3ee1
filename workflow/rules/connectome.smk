# What is derived from the signals of a study: matrices of connectivity, and tables for machine learning.

# The images of a study whose matrices one job makes.
BATCHES = in_batches(PLAN.study) if PLAN.config["connectivity"] else {}
RECORDS = [f"resources/connectivity/{PLAN.atlas_name}_batch-{batch}.json" for batch in BATCHES]
PARQUET = [f"{derivatives.FOLDER}/{derivatives.PARQUET_SIGNALS}"] if PLAN.config["parquet"] else []
PARQUET += [f"{derivatives.FOLDER}/{derivatives.PARQUET_CONNECTIVITY}"] if PARQUET and RECORDS else []


rule connect_regions:
    input:
        signals=lambda wildcards: signals_of(BATCHES[wildcards.batch]),
    output:
        # Of no image alone, as all outputs of a rule would have to be.
        record=f"resources/connectivity/{PLAN.atlas_name}_batch-{{batch}}.json",
    log:
        "logs/connect_regions/{batch}.log",
    conda:
        "../../envs/imaging.yaml"
    resources:
        mem_mb=connection_memory,
    params:
        program=program("connect_regions.py"),
        options=lambda wildcards: connection_options(BATCHES[wildcards.batch]),
        code=code_of("connect_regions.py"),
    shell:
        "{params.program} {params.options} --record {output.record:q} --log {log:q}"


rule write_parquet:
    input:
        signals=signals_of(PLAN.study),
        matrices=RECORDS,
    output:
        signals=directory(PARQUET[:1]),
        connectivity=PARQUET[1:],
    log:
        "logs/write_parquet.log",
    conda:
        "../../envs/figures.yaml"
    resources:
        mem_mb=parquet_memory,
    params:
        program=program("write_parquet.py"),
        order=order_of(PLAN.study),
        options=parquet_options,
        code=code_of("write_parquet.py"),
    shell:
        "{params.program} {params.options} --log {log:q}"
