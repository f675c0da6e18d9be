"""What travels between devices and the hub, and where it lies on disk: journal, cache, segments, protocol, client."""
