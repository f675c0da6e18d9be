"""A guest's visit as a pure state machine, and the view data its screens show."""
