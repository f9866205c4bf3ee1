"""nilearn's maskers for volumes, in flat memory."""
