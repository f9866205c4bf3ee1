"""Regions of the brain: atlases, masks, and what becomes of a volume's voxels."""
