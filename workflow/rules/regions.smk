# The regions: an atlas, fetched, simulated or a user's, on the grid of each image, split into binary masks.


rule fetch_basc:
    output:
        atlas="resources/basc/basc_scale{scale}_dseg.nii.gz",
    log:
        "logs/fetch_basc/scale{scale}.log",
    retries: 2
    localrule: True
    conda:
        "../../envs/imaging.yaml"
    params:
        program=program("fetch_basc.py"),
        options=lambda wildcards: options_of({"data_dir": PLAN.config["data_dir"]}),
        resolution=lambda wildcards: int(wildcards.scale),
        code=code_of("fetch_basc.py"),
    shell:
        "{params.program} --atlas {output.atlas:q} --resolution {params.resolution}" " {params.options} --log {log:q}"


rule simulate_atlas:
    output:
        atlas="resources/simulated/atlas_scale{scale}_dseg.nii.gz",
    log:
        "logs/simulate_atlas/scale{scale}.log",
    conda:
        "../../envs/imaging.yaml"
    resources:
        mem_mb=memory_of(240),
    params:
        program=program("simulate_atlas.py"),
        n_parcels=lambda wildcards: int(wildcards.scale),
        seed=PLAN.config["seed"],
        code=code_of("simulate_atlas.py"),
    shell:
        "{params.program} --atlas {output.atlas:q} --n-parcels {params.n_parcels}" " --seed {params.seed} --log {log:q}"


rule place_atlas:
    input:
        atlas=lambda wildcards: given(PLAN.atlas),
        like=run_to_make,
        labels=lambda wildcards: given(PLAN.config["atlas_labels"]) if PLAN.config["atlas_labels"] else [],
    output:
        atlas=f"resources/atlases/{PLAN.atlas_name}_grid-{{grid}}_{PLAN.placed_endings[0]}",
        regions=f"resources/atlases/{PLAN.atlas_name}_grid-{{grid}}_regions.tsv",
        coverage=f"resources/atlases/{PLAN.atlas_name}_grid-{{grid}}_coverage.npy",
        sidecar=f"resources/atlases/{PLAN.atlas_name}_grid-{{grid}}_{PLAN.placed_endings[1]}",
    log:
        f"logs/place_atlas/{PLAN.atlas_name}_grid-{{grid}}.log",
    conda:
        "../../envs/imaging.yaml"
    resources:
        mem_mb=placing_memory,
    params:
        program=program("place_atlas.py"),
        atlas=lambda wildcards, output: PLAN.atlas,
        # Any run on the grid will do. Its header gives the grid, which is a part of the path: a new header is another file,
        # and a study whose first image is another one is no reason to run again.
        like=run_on,
        # A function, or braces in a path would be taken for wildcards.
        options=lambda wildcards: options_of(PLAN.region_options()),
        code=code_of("place_atlas.py"),
    shell:
        "{params.program} --atlas {params.atlas:q} --like {params.like:q} {params.options}"
        " --out {output.atlas:q} --table {output.regions:q} --coverage {output.coverage:q} --log {log:q}"


rule split_masks:
    input:
        atlas=compared_atlas,
        regions=placed_atlas("regions.tsv"),
    output:
        masks=expand("results/{{image}}/masks/region-{label}_mask.nii.gz", label=LABELS if MASKED else []),
        atlas="results/{image}/atlas_dseg.nii.gz",
        regions="results/{image}/regions.tsv",
    log:
        "logs/split_masks/{image}.log",
    conda:
        "../../envs/imaging.yaml"
    resources:
        mem_mb=memory_of(50, mib_per_million_voxels=60),
    params:
        program=program("split_masks.py"),
        masks=lambda wildcards: options_of({"masks": place(f"results/{wildcards.image}/masks") if MASKED else None}),
        code=code_of("split_masks.py"),
    shell:
        "{params.program} --atlas {input.atlas:q} --regions {input.regions:q} {params.masks}"
        " --out-atlas {output.atlas:q} --out-regions {output.regions:q} --log {log:q}"
