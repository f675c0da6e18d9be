"""The gate: may this ticket enter, here and now, with the line or without it.

    Read -> what the code says -> cache, then journal -> decide -> PENDING synced -> claim -> settle -> verdict -> chained

Knows no Kivy and draws nothing; a screen is sent finished views. No green without a durable row.
"""
