"""The ZVT protocol: codec, transport, driver."""
