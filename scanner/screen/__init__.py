"""Draws the verdicts it is sent."""
