"""Studies: their runs and their configuration."""
