"""How bytes travel and when they arrived."""
