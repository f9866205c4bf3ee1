# The 4D images: subjects' runs, fetched or simulated, and their concatenation.


rule fetch_adhd:
    output:
        runs=[f"resources/adhd/{adhd.run_path(subject)}" for subject in PLAN.subjects],
        confounds=[f"resources/adhd/{adhd.confounds_path(subject)}" for subject in PLAN.subjects],
        participants="resources/adhd/participants.tsv",
    log:
        "logs/fetch_adhd.log",
    retries: 2
    localrule: True
    conda:
        "../../envs/imaging.yaml"
    params:
        program=program("fetch_adhd.py"),
        options=lambda wildcards: options_of({"data_dir": PLAN.config["data_dir"], "url": PLAN.config["adhd_url"]}),
        code=code_of("fetch_adhd.py"),
    shell:
        "{params.program} --runs {output.runs:q} --confounds {output.confounds:q}"
        " --participants {output.participants:q} {params.options} --log {log:q}"


rule simulate_adhd:
    output:
        run=f"resources/simulated/{adhd.run_path('{subject}')}",
        confounds=f"resources/simulated/{adhd.confounds_path('{subject}')}",
    log:
        "logs/simulate_adhd/{subject}.log",
    conda:
        "../../envs/imaging.yaml"
    resources:
        mem_mb=memory_of(240),
    params:
        program=program("simulate_adhd.py"),
        options=options_of({"n_volumes": PLAN.config["n_volumes"], "seed": PLAN.config["seed"]}),
        code=code_of("simulate_adhd.py"),
    shell:
        "{params.program} --run {output.run:q} --confounds {output.confounds:q}"
        " --subject {wildcards.subject:q} {params.options} --log {log:q}"


rule concatenate_runs:
    input:
        runs=runs_input,
    output:
        image="results/{image}/{image}_bold.nii.gz",
        run_lengths="results/{image}/runs.tsv",
    log:
        "logs/concatenate_runs/{image}.log",
    conda:
        "../../envs/imaging.yaml"
    resources:
        mem_mb=memory_of(65),
    params:
        program=program("concatenate_runs.py"),
        # Snakemake looks at the set of inputs only; here their order matters.
        options=lambda wildcards: words_of({"runs": runs_of(wildcards), **PLAN.time_options(wildcards.image)}),
        code=code_of("concatenate_runs.py"),
    shell:
        "{params.program} {params.options} --image {output.image:q}"
        " --run-lengths {output.run_lengths:q} --log {log:q}"


rule decompress_image:
    input:
        image="results/{image}/{image}_bold.nii.gz",
    output:
        image=temp("results/{image}/{image}_bold.nii"),
    log:
        "logs/decompress_image/{image}.log",
    conda:
        "../../envs/imaging.yaml"
    resources:
        mem_mb=memory_of(55),
    params:
        program=program("decompress_image.py"),
        code=code_of("decompress_image.py"),
    shell:
        "{params.program} {input.image:q} {output.image:q} --log {log:q}"
