"""The sale engine: stock, payment, tickets and paper in one order that survives a power cut."""
