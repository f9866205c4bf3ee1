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
        data_dir=config["data_dir"],
        resolution=lambda wildcards: int(wildcards.scale),
        code=code_of("fetch_basc.py"),
    script:
        "../../scripts/fetch_basc.py"


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
        n_parcels=lambda wildcards: int(wildcards.scale),
        seed=config["seed"],
        code=code_of("simulate_atlas.py"),
    script:
        "../../scripts/simulate_atlas.py"


rule resample_atlas:
    input:
        atlas=ATLAS,
        image=lambda wildcards: RUNS[wildcards.image][0].path,
    output:
        resampled="results/{image}/atlas_dseg.nii.gz",
    log:
        "logs/resample_atlas/{image}.log",
    conda:
        "../../envs/imaging.yaml"
    resources:
        mem_mb=memory_of(170, mib_per_million_voxels=60),
    params:
        code=code_of("resample_atlas.py"),
    script:
        "../../scripts/resample_atlas.py"


rule split_masks:
    input:
        atlas=ATLAS,
        resampled="results/{image}/atlas_dseg.nii.gz",
    output:
        masks=expand("results/{{image}}/masks/region-{label}_mask.nii.gz", label=LABELS if MASKED else []),
        regions="results/{image}/regions.tsv",
    log:
        "logs/split_masks/{image}.log",
    conda:
        "../../envs/imaging.yaml"
    resources:
        mem_mb=memory_of(50, mib_per_million_voxels=60),
    params:
        names=NAMES,
        empty_regions=config["empty_regions"],
        code=code_of("split_masks.py"),
    script:
        "../../scripts/split_masks.py"
