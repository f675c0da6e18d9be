"""Payment terminals behind one contract."""
