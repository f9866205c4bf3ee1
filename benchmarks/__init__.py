"""What `make benchmark` measures: a tool of the project, no part of the product."""
