"""Draws the verdicts it is sent. Decides nothing, opens no database, knows no rule.

    gate's socket -> `link` -> `showing` (pure: what is on the screen now) -> `faces` (drawn in millimetres) -> window

A verdict must stand on the screen in the next frame, so a face is a handful of canvas instructions drawn at once; there are no
widgets, bindings or transitions between a packet and its picture.
"""
