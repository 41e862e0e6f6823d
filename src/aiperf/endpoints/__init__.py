"""What is said: bodies out, events in; pure."""
