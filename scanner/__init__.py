"""The gate: reading codes, deciding, and showing the verdict."""
