"""What a guest sees: layouts in millimetres and bindings to view data, nothing else. Nothing here decides."""
