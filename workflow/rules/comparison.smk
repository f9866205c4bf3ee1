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
        order=STRATEGIES,
        code=code_of("compare_memory.py"),
    script:
        "../../scripts/compare_memory.py"
