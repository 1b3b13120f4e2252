"""The field's types and rules; no input, no output."""
