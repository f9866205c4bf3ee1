# What the rules of a study are asked for, and what is made of a study in which some images have failed.


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
