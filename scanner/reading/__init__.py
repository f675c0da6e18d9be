"""Frames, imagers and wedges become text. Knows nothing of gates."""
