"""Tests that run Snakemake itself, as a user does; a package, so that its conftest.py and the one above can both be imported."""
