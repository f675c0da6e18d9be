"""The hub's code in venue role: relay and arbiter on a venue's LAN.

A venue node is a device of the hub and a hub to its devices. It follows the hub's feed into the same tables that a hub has, serves
the same calls from them, and hands every segment on byte for byte. It must never say anything in the hub's name: what devices believe
under the hub's key (certificates, the arbiter's statement, who a device is) it passes on as it came.
"""
