# What is derived from the signals of a study: matrices of connectivity, and tables for machine learning.

# The images of a study whose matrices one job makes.
BATCHES = in_batches(PLAN.study) if PLAN.config["connectivity"] else {}
RECORDS = [f"resources/connectivity/{PLAN.atlas_name}_batch-{batch}.json" for batch in BATCHES]
PARQUET = [f"{derivatives.FOLDER}/{derivatives.PARQUET_SIGNALS}"] if PLAN.config["parquet"] else []
PARQUET += [f"{derivatives.FOLDER}/{derivatives.PARQUET_CONNECTIVITY}"] if PARQUET and RECORDS else []


def matrix_options():
    """Give which matrices are asked for as options of connect_regions.py."""
    return {
        "kinds": PLAN.config["connectivity"],
        "estimator": PLAN.config["covariance_estimator"],
        "fisher_z": PLAN.config["fisher_z"] or None,
    }


def signals_of(images):
    """List the sidecars of the signals that matrices and tables are made of."""
    statistic = PLAN.statistics[0]
    return [f"{derivatives.image_prefix(image, PLAN.atlas_name)}_stat-{statistic}_timeseries.json" for image in images]


def connection_options(images):
    """Word which matrices some images get as options of connect_regions.py."""
    return options_of(
        {
            "study": place(str(derivatives.FOLDER)),
            "atlas_name": PLAN.atlas_name,
            "statistic": PLAN.statistics[0],
            **matrix_options(),
            "images": images,
        }
    )


def parquet_options(wildcards):
    """Word of what the Parquet files are made as options of write_parquet.py."""
    from_sample = PLAN.config["dataset"] in SAMPLES
    return options_of(
        {
            "study": place(str(derivatives.FOLDER)),
            "atlas_name": PLAN.atlas_name,
            "statistic": PLAN.statistics[0],
            "images": list(PLAN.study) if from_sample else None,
            "runs_table": None if from_sample else PLAN.config["dataset"],
            "kinds": PLAN.config["connectivity"],
            "fisher_z": PLAN.config["fisher_z"] or None,
        }
    )


def derive_what_is_there(pending, batches):
    """Make matrices and Parquet files without the images that have failed, but not while some have still to be tried.

    Parameters
    ----------
    pending : set of str
        Images without results.
    batches : list of str
        Batches of images whose matrices have not been made.

    Returns
    -------
    bool
        Whether the Parquet files have been made.
    """
    logs = {image: f"logs/extract_timeseries/{derivatives.image_folder(image)}/{image}.log" for image in pending}
    untried = {image for image, log in logs.items() if not Path(log).exists()}
    commands = []
    for batch in batches:
        images = [image for image in BATCHES[batch] if image not in pending]
        if images and not untried.intersection(BATCHES[batch]):
            log = options_of({"log": f"logs/connect_regions/{batch}.log"})
            commands.append(f"{program('connect_regions.py')(None, None)} {connection_options(images)} {log}")
    parquet = PLAN.config["parquet"] and not untried and pending < set(PLAN.study)
    if parquet:
        left_out = options_of({"pending": sorted(pending), "log": "logs/write_parquet.log"})
        commands.append(f"{program('write_parquet.py')(None, None)} {parquet_options(None)} {left_out}")
    for command in commands:
        subprocess.run(["bash", "-c", command], check=False)
    return parquet


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
