"""Square's Terminal, Payments, Refunds and Devices APIs with one Terminal and its guests, written from the public reference."""
