"""When requests are due: arrivals and strategies; pure and seeded."""
