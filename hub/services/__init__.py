"""What the hub does, apart from HTTP: functions that take an open write transaction, values, and the time, and return values.

Nobody here reads a clock or commits; whoever calls holds the transaction, so that an effect and its answer are one fact.
"""
