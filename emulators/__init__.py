"""Printer and terminals for the other end of a real wire. A separate program with codecs of its own."""
