"""Sample data: the ADHD subjects, and a simulation of them."""
