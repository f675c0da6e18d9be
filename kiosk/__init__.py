"""The selling touchscreen."""
