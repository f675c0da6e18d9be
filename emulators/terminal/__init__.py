"""A ZVT card terminal with a ledger of its own: what it says it charged is the truth that tests compare with.

It takes part as a terminal in vending mode does: an approved payment is held until the till says that the goods are
issued, and reversed when the till says no, says nothing, or is gone.
"""
