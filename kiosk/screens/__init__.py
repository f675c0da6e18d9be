"""Layouts and bindings, nothing else."""
