"""What all devices and the hub talk about: money, catalogue, order, admission, the ticket code. Pure: no clock, disk, socket or screen."""
