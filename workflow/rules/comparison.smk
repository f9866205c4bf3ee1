# What each strategy took: the table and the figure.


rule compare_memory:
    input:
        summaries=expand("results/{{image}}/{strategy}/memory.json", strategy=STRATEGIES),
    output:
        table="results/{image}/memory_comparison.tsv",
        png=report(
            "results/{image}/memory_comparison.png",
            caption="../report/memory_comparison.rst",
            category="Memory",
            labels={"image": "{image}"},
        ),
        svg="results/{image}/memory_comparison.svg",
    log:
        "logs/compare_memory/{image}.log",
    localrule: True
    conda:
        "../../envs/figures.yaml"
    params:
        program=program("compare_memory.py"),
        order=STRATEGIES,
        code=code_of("compare_memory.py"),
    shell:
        "{params.program} --summaries {input.summaries:q} --image {wildcards.image:q}"
        " --table {output.table:q} --png {output.png:q} --svg {output.svg:q} --log {log:q}"


rule compare_study:
    input:
        summaries=expand("results/{image}/{strategy}/memory.json", image=list(PLAN.runs), strategy=STRATEGIES),
    output:
        table="results/study_memory.tsv",
        png=report(
            "results/study_memory.png",
            caption="../report/study_memory.rst",
            category="Memory",
            labels={"image": "all"},
        ),
        svg="results/study_memory.svg",
    log:
        "logs/compare_study.log",
    localrule: True
    conda:
        "../../envs/figures.yaml"
    params:
        program=program("compare_study.py"),
        results=lambda wildcards: place("results"),
        images=compared_images,
        order=order_of(PLAN.runs),
        strategies=STRATEGIES,
        code=code_of("compare_study.py"),
    shell:
        "{params.program} --results {params.results:q} --strategies {params.strategies} {params.images}"
        " --table {output.table:q} --png {output.png:q} --svg {output.svg:q} --log {log:q}"
