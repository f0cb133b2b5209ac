"""Pages for reading what was asked and answered, with a second person."""
