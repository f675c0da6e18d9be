"""Paper: documents, their layout, the bytes for a printer, and the spool that proves what was printed."""
