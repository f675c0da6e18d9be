"""The programs at the other end of the real wires: a ticket printer, a card terminal and payment services that can be told to fail.

They exist so that no driver needs a test mode. They must never import a codec of the drivers (nor be imported by
them): both sides are written from the protocol alone, so that a byte wrong on both sides shows.
"""
