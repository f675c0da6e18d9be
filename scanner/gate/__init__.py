"""Decides who may pass, durably, and says why."""
