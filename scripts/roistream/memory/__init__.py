"""Memory: measured, predicted, and still to be had."""
