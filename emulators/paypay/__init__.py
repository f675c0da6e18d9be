"""PayPay's Open Payment API for dynamic QR codes, with the guests' phones, written from the public reference."""
