"""Cleaning along time, as nilearn does it."""
